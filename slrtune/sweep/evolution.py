"""CMA-ES (Hansen 2016) over the ranges of a space.

Its state is worked out from the study for every trial, by telling it all earlier generations again:
a sweep that is resumed proposes what it would have.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence

import numpy as np
from cmaes import CMA
from optuna.trial import FrozenTrial

from slrtune.config.search_space import Parameter, Params, SearchSpace
from slrtune.config.search_space_checks import RandomSuggester

# Of the unit cube's side, as Optuna has it: six of them span a range.
_FIRST_SIGMA = 1 / 6


class EvolutionProposals:
    """Proposes by CMA-ES what may be better than the generations before.

    Args:
        space: of at least two ranges that are always drawn.
        seed: the same trials in the same order give the same proposals.
    """

    def __init__(self, space: SearchSpace, seed: int) -> None:
        self._space, self._seed = space, seed
        self._score = space.base.objective.score

    def ranked(self, trials: Sequence[FrozenTrial], number: int) -> Iterator[Params]:
        """Configurations for trial ``number``, after what the other trials have shown."""
        parameters = self._space.parameters
        seed = random.Random(f"{self._seed} {number}").randrange(2**32)
        middle = np.full(len(parameters), 0.5)
        bounds = np.array([[0.0, 1.0]] * len(parameters))
        optimizer = CMA(mean=middle, sigma=_FIRST_SIGMA, bounds=bounds, seed=seed)
        told = [
            (np.array([_place(p, trial.params[p.key]) for p in parameters]), -self._last(trial))
            for trial in trials
            if trial.number != number and trial.state.is_finished() and trial.intermediate_values
        ]
        size = optimizer.population_size
        for start in range(0, len(told) - size + 1, size):
            optimizer.tell(told[start : start + size])
        while True:
            places = optimizer.ask()
            drawn = {p.key: _value(p, at) for p, at in zip(parameters, places, strict=True)}
            # A bound may be another parameter's value.
            yield self._space.suggest(RandomSuggester(0, drawn))

    def _last(self, trial: FrozenTrial) -> float:
        return self._score(trial.intermediate_values[max(trial.intermediate_values)])


def _place(parameter: Parameter, value: float) -> float:
    """Of a value between the bounds: 0..1."""
    low, high = _ends(parameter)
    at = math.log(value) if parameter.log else float(value)
    return (at - low) / (high - low)


def _value(parameter: Parameter, place: float) -> float:
    """At a place between the bounds, on the parameter's grid."""
    low, high = _ends(parameter)
    at = low + place * (high - low)
    value = math.exp(at) if parameter.log else at
    assert parameter.low is not None and parameter.high is not None
    step = parameter.step or (1 if parameter.is_int else None)
    if step is not None:
        value = parameter.low + round((value - parameter.low) / step) * step
    value = min(max(value, parameter.low), parameter.high)
    return int(value) if parameter.is_int else float(value)


def _ends(parameter: Parameter) -> tuple[float, float]:
    assert parameter.low is not None and parameter.high is not None
    ends = float(parameter.low), float(parameter.high)
    return (math.log(ends[0]), math.log(ends[1])) if parameter.log else ends
