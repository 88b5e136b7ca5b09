"""Settings close to those of a trial that does well."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from slrtune.config.errors import ConfigError
from slrtune.config.population import can_change
from slrtune.config.search_space import Parameter, Params, SearchSpace
from slrtune.config.search_space_checks import RandomSuggester
from slrtune.config.sweep import PBTConfig

_MAX_DRAWS = 20


def explored(
    space: SearchSpace,
    params: Params,
    pbt: PBTConfig,
    rng: random.Random,
    fits_memory: Callable[[Params], bool],
) -> Params:
    """``params`` with another value of what can change while a trial trains.

    The values go together and keep to the memory budget, as those of any trial; where chance finds
    none that do, ``params`` as they are.
    """
    for _ in range(_MAX_DRAWS):
        drawn = _draw(space, params, pbt, rng)
        if _go_together(space, drawn) and fits_memory(drawn):
            return drawn
    return dict(params)


def _draw(space: SearchSpace, params: Params, pbt: PBTConfig, rng: random.Random) -> Params:
    drawn: Params = {}
    for parameter in space.parameters:
        key = parameter.key
        if not space.is_drawn(parameter, drawn):
            continue
        if key in params and not can_change(key):
            drawn[key] = params[key]
            continue
        if key not in params or rng.random() < pbt.resample_probability:
            value = parameter.suggest(RandomSuggester(rng.randrange(2**32)))
        else:
            value = _moved(parameter, params[key], pbt.perturb_factors, rng)
        drawn[key] = space.clipped(key, value, drawn)
    return drawn


def _moved(parameter: Parameter, value: Any, factors: Sequence[float], rng: random.Random) -> Any:
    if parameter.choices is not None:
        place = parameter.choices.index(value) + rng.choice((-1, 1))
        return parameter.choices[min(max(place, 0), len(parameter.choices) - 1)]
    assert parameter.low is not None and parameter.high is not None
    if value == 0:  # no factor would move it
        return parameter.suggest(RandomSuggester(rng.randrange(2**32)))
    factor = rng.choice(list(factors))
    moved = value * factor
    step = parameter.step or (1 if parameter.is_int else None)
    if step is not None:
        num_steps = round((moved - value) / step)
        if num_steps == 0:  # at least to the next one
            num_steps = 1 if factor > 1 else -1
        moved = value + num_steps * step
    bounded = min(max(moved, parameter.low), parameter.high)
    return int(bounded) if parameter.is_int else float(bounded)


def _go_together(space: SearchSpace, params: Params) -> bool:
    before: Params = {}
    for parameter in space.parameters:
        if parameter.key in params:
            # One that cannot change may have a bound that has.
            if not space.fits(parameter, params[parameter.key], before):
                return False
            before[parameter.key] = params[parameter.key]
    try:
        space.experiment(params)
    except ConfigError:
        return False
    return True
