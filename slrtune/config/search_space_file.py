"""Read a search space file: every mistake in it, and in its experiment, comes at once."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slrtune.config.errors import ConfigError, Mistake
from slrtune.config.experiment import Experiment
from slrtune.config.model import ModelConfig
from slrtune.config.search_space import Parameter, SearchSpace, value_at
from slrtune.config.search_space_spec import parameter_from, spec_mistakes
from slrtune.config.validate import (
    known_keys,
    load_experiment,
    set_dotted,
    validate,
    validate_keys,
)
from slrtune.config.yaml_file import YamlFile, read_yaml

# Draws that are checked for values that do not go together.
_NUM_PROBES = 300


def load_search_space(
    path: Path, experiment_path: Path | None = None, overrides: Mapping[str, Any] | None = None
) -> SearchSpace:
    """Read a search space and the experiment that it varies.

    Args:
        path: the search space file.
        experiment_path: experiment file; None = the one that the search space names.
        overrides: dotted key -> value over the experiment, as given by ``--set``; a searched key
            that is overridden is no longer searched.

    Raises:
        ConfigError: with every mistake of both files and the overrides at once.
    """
    file = read_yaml(path)
    overrides = overrides or {}
    mistakes = list(file.mistakes)
    for key in file.data:
        if key not in ("experiment", "parameters", "points"):
            rule = "is not a known key; a search space has experiment, parameters and points"
            mistakes.append(Mistake(file.name, file.line_of((str(key),)), str(key), rule))
    parameters = _parameters(file, mistakes)
    base: Experiment | None = None
    try:
        base = load_experiment(experiment_path or _experiment_path(file, path), overrides)
    except ConfigError as error:
        mistakes += error.mistakes
    parameters = [p for p in parameters if p.key not in overrides]
    if base is not None:
        ordered = _in_order([_with_model_condition(p) for p in parameters], file, mistakes)
        points = _points(file, ordered, mistakes)
        space = SearchSpace(path.stem, base, tuple(ordered), tuple(points))
        if not mistakes:
            mistakes += _values_that_break_rules(space, file)
        if not mistakes:
            return space
    raise ConfigError(mistakes)


def _experiment_path(file: YamlFile, path: Path) -> Path:
    named = file.data.get("experiment")
    if not isinstance(named, str):
        line = file.line_of(("experiment",))
        rule = "must name the experiment file that is varied; add it, or pass --experiment"
        raise ConfigError([Mistake(file.name, line, "experiment", rule)])
    return path.parent / named


def _parameters(file: YamlFile, mistakes: list[Mistake]) -> list[Parameter]:
    raw = file.data.get("parameters")
    if not isinstance(raw, dict) or not raw:
        rule = "must list the searched keys, such as training.learning_rate: {low: …, high: …}"
        mistakes.append(Mistake(file.name, file.line_of(("parameters",)), "parameters", rule))
        return []
    known = set(known_keys())
    parameters = []
    for key, spec in raw.items():
        found = list(spec_mistakes(str(key), spec, known))
        line = file.line_of(("parameters", str(key)))
        mistakes += [Mistake(file.name, line, str(key), rule) for rule in found]
        if not found:
            parameters.append(parameter_from(str(key), spec))
    return parameters


def _with_model_condition(parameter: Parameter) -> Parameter:
    """``model.timesformer.depth`` is only drawn where ``model.name`` is timesformer."""
    section = parameter.key.split(".")[1] if parameter.key.startswith("model.") else ""
    if section in ModelConfig.model_fields and section != "name":
        implied = ("model.name", (section,))
        if implied not in parameter.when:
            when = (implied, *parameter.when)
            return Parameter(**{**parameter.__dict__, "when": when})
    return parameter


def _in_order(
    parameters: list[Parameter], file: YamlFile, mistakes: list[Mistake]
) -> list[Parameter]:
    """Conditions first; file order otherwise."""
    ordered: list[Parameter] = []
    waiting = list(parameters)
    while waiting:
        open_keys = {parameter.key for parameter in waiting}
        ready = [p for p in waiting if not open_keys.intersection(key for key, _ in p.when)]
        if not ready:
            for parameter in waiting:
                line = file.line_of(("parameters", parameter.key))
                rule = "depends on itself through `when`; remove one of the conditions"
                mistakes.append(Mistake(file.name, line, parameter.key, rule))
            return ordered
        ordered += ready
        waiting = [p for p in waiting if p not in ready]
    return ordered


def _points(
    file: YamlFile, parameters: list[Parameter], mistakes: list[Mistake]
) -> list[dict[str, Any]]:
    raw = file.data.get("points") or []
    if not isinstance(raw, list) or not all(isinstance(point, dict) for point in raw):
        rule = "must be a list of `key: value` mappings"
        mistakes.append(Mistake(file.name, file.line_of(("points",)), "points", rule))
        return []
    by_key = {parameter.key: parameter for parameter in parameters}
    for position, point in enumerate(raw):
        for key, value in point.items():
            line = file.line_of(("points", str(position), str(key)))
            parameter = by_key.get(key)
            if parameter is None:
                rule = "is not among the parameters; a point gives values of searched keys"
            elif parameter.holds(value):
                continue
            else:
                rule = f"must be {parameter.bounds()}, but is {value!r}"
            mistakes.append(Mistake(file.name, line, str(key), rule))
    return [dict(point) for point in raw]


def _values_that_break_rules(space: SearchSpace, file: YamlFile) -> list[Mistake]:
    """Each value alone against its key's own rule, then draws for rules between keys."""
    mistakes: list[Mistake] = []
    for parameter in space.parameters:
        for value in parameter.extremes():
            mistakes += _single_value_mistakes(space, parameter, value, file)
        unmet = [
            f"{key} is {value_at(space.base, key)}"
            for key, values in parameter.when
            if key not in {p.key for p in space.parameters}
            and value_at(space.base, key) not in values
        ]
        if unmet:
            line = file.line_of(("parameters", parameter.key))
            rule = f"is never drawn, because {' and '.join(unmet)}; remove it or mend the condition"
            mistakes.append(Mistake(file.name, line, parameter.key, rule))
    return mistakes or _drawn_mistakes(space, file)


def _single_value_mistakes(
    space: SearchSpace, parameter: Parameter, value: Any, file: YamlFile
) -> list[Mistake]:
    raw = space.base.model_dump(mode="json")
    set_dotted(raw, parameter.key, value)
    place = (file.name, file.line_of(("parameters", parameter.key)))
    # Rules between keys are judged on whole draws: alone, a value may break one that its
    # companions in the space would keep.
    return [m for m in validate_keys(raw, lambda _: place)[1] if m.key == parameter.key]


def _drawn_mistakes(space: SearchSpace, file: YamlFile) -> list[Mistake]:
    draw = RandomSuggester(seed=0)
    mistakes: set[Mistake] = set()
    searched = {parameter.key for parameter in space.parameters}
    for _ in range(_NUM_PROBES):
        params = space.suggest(draw)
        raw = space.base.model_dump(mode="json")
        for key, value in params.items():
            set_dotted(raw, key, value)
        for mistake in validate(raw, lambda _: (file.name, 0))[1]:
            key = mistake.key if mistake.key in searched else "parameters"
            path = ("parameters", key) if key in searched else ("parameters",)
            message = mistake.message if key in searched else f"{mistake.key} {mistake.message}"
            mistakes.add(Mistake(file.name, file.line_of(path), key, message))
    # One example per key is enough: a space can break a rule in hundreds of ways.
    first: dict[str, Mistake] = {}
    for mistake in sorted(mistakes):
        first.setdefault(mistake.key, mistake)
    return list(first.values())


class RandomSuggester:
    """Draws at random, without Optuna: for checks before a study exists."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def suggest_categorical(self, name: str, choices: list[Any]) -> Any:
        """Any of ``choices``."""
        return self._random.choice(choices)

    def suggest_int(self, name: str, low: int, high: int, *, step: int, log: bool) -> int:
        """A whole number of the grid, bounds included."""
        return self._random.randrange(low, high + 1, step)

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None, log: bool
    ) -> float:
        """A number between the bounds."""
        if step is not None:
            return low + step * self._random.randint(0, round((high - low) / step))
        return self._random.uniform(low, high)
