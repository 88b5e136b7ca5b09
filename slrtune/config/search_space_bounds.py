"""Bounds that are another key's value: how wide they can be, and what may be wrong with them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from slrtune.config.errors import Mistake
from slrtune.config.search_space import Parameter, SearchSpace, value_at
from slrtune.config.yaml_file import YamlFile


def with_bounds(space: SearchSpace, file: YamlFile, mistakes: list[Mistake]) -> SearchSpace:
    """The space with every named bound as wide as it can be.

    A value is drawn between the widest bounds and then brought within those of its configuration
    (`Parameter.clip`), so that Optuna sees one range for all trials.

    Args:
        space: parameters in an order in which bounds come before what depends on them.
        file: for the places of mistakes.
        mistakes: where bounds that cannot be used are added.
    """
    done: list[Parameter] = []
    for parameter in space.parameters:
        found: list[str] = []
        low = _values("low", parameter, space, done, found)
        high = _values("high", parameter, space, done, found)
        if not found and parameter.choices is None:
            found += _range_mistakes(parameter, low, high)
        line = file.line_of(("parameters", parameter.key))
        mistakes += [Mistake(file.name, line, parameter.key, rule) for rule in found]
        if not found and parameter.choices is None:
            parameter = replace(parameter, low=min(low), high=max(high))
        done.append(parameter)
    return replace(space, parameters=tuple(done))


def _values(
    name: str, parameter: Parameter, space: SearchSpace, done: list[Parameter], found: list[str]
) -> list[Any]:
    """The values that bound ``name`` can have: the number in the file, or all of its key."""
    key = getattr(parameter, f"{name}_key")
    if key is None:
        return [getattr(parameter, name)]
    searched = next((other for other in done if other.key == key), None)
    values = list(searched.extremes()) if searched is not None else []
    if searched is None or searched.when:
        values.append(value_at(space.base, key))
    wrong = [v for v in values if isinstance(v, bool) or not isinstance(v, int | float)]
    if wrong:
        found.append(
            f"has {key} as {name}, which is {wrong[0]!r} and no number; set {key}, or write a "
            f"number for {name}"
        )
    return values


def _range_mistakes(parameter: Parameter, low: list[Any], high: list[Any]) -> list[str]:
    if parameter.low_key is None and parameter.high_key is None:
        return []
    if max(low) > min(high) or min(low) >= max(high):
        return [
            f"must have low < high in every configuration, but low ({_shown('low', parameter)}) "
            f"can be {max(low):g} and high ({_shown('high', parameter)}) {min(high):g}; "
            "change either"
        ]
    if parameter.log and min(low) <= 0:
        return [f"must have low > 0 for log: true, but {parameter.low_key} can be {min(low):g}"]
    is_step_whole = parameter.step is None or isinstance(parameter.step, int)
    if all(isinstance(value, int) for value in (*low, *high)) and not is_step_whole:
        return [f"must have a whole step between whole bounds, but {parameter.step:g}"]
    return []


def _shown(name: str, parameter: Parameter) -> str:
    return getattr(parameter, f"{name}_key") or "a number"
