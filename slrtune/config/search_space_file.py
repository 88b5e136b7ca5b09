"""Read a search space file: every mistake in it, and in its experiment, comes at once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from slrtune.config.errors import ConfigError, Mistake, file_error
from slrtune.config.experiment import Experiment
from slrtune.config.model import ModelConfig
from slrtune.config.overrides import Overrides
from slrtune.config.search_space import Parameter, Params, SearchSpace
from slrtune.config.search_space_bounds import with_bounds
from slrtune.config.search_space_checks import space_mistakes, unmet_conditions
from slrtune.config.search_space_spec import parameter_from, spec_mistakes
from slrtune.config.validate import known_keys, load_experiment
from slrtune.config.yaml_file import YamlFile, read_yaml


def load_search_space(
    path: Path,
    experiment: Path | None = None,
    overrides: Overrides | None = None,
    *,
    is_for_elsewhere: bool = False,
) -> SearchSpace:
    """Read a search space and the experiment that it varies.

    Args:
        path: the search space file.
        experiment: experiment file; None = the one that the search space names.
        overrides: settings over the experiment; a searched key that is set is no longer searched,
            nor is what was only drawn for its other values.
        is_for_elsewhere: paths are those of another machine: they stay as they are written.

    Raises:
        ConfigError: with every mistake of both files and the overrides at once.
    """
    overrides = overrides or Overrides()
    file = read_yaml(path)
    if "parameters" not in file.data and file.data.keys() & Experiment.model_fields.keys():
        rule = "is an experiment, not a search space; train it with `slrtune train`, or search "
        raise file_error(path, f"{rule}around it with `slrtune sweep SEARCH_SPACE.yaml -e {path}`")
    mistakes = list(file.mistakes)
    for key in file.data:
        if key not in ("experiment", "parameters", "points"):
            rule = "is not a known key; a search space has experiment, parameters and points"
            mistakes.append(Mistake(file.name, file.line_of((key,)), key, rule))
    written = _in_order(
        [_with_model_condition(p) for p in _parameters(file, mistakes)], file, mistakes
    )
    try:
        named = experiment or _experiment_path(file, path)
        base = load_experiment(named, overrides, is_for_elsewhere=is_for_elsewhere)
    except ConfigError as error:
        _points(file, written, overrides, mistakes)
        raise ConfigError([*mistakes, *error.mistakes]) from None
    space = _searched(SearchSpace(path.stem, base, tuple(written)), overrides)
    space = with_bounds(space, file, mistakes)
    by_key = {parameter.key: parameter for parameter in space.parameters}
    points = _points(file, [by_key.get(p.key, p) for p in written], overrides, mistakes)
    dropped = {parameter.key for parameter in written} - by_key.keys()
    space = replace(space, points=tuple(points)).without(dropped)
    if written and not space.parameters:
        rule = "leaves nothing to search; remove one, or use `slrtune train`"
        mistakes.append(Mistake("--set", 0, "", rule))
    if not mistakes:
        mistakes += space_mistakes(space, file)
    if mistakes:
        raise ConfigError(mistakes)
    return space


def _searched(written: SearchSpace, overrides: Overrides) -> SearchSpace:
    """What is left to search: without overridden keys, and without what they rule out."""
    dropped = {p.key for p in written.parameters if overrides.sets(p.key)}
    space = written.without(dropped)
    # Conditions come first, so that what depends on a dropped parameter is dropped after it.
    for parameter in space.parameters:
        unmet = {key for key, _ in unmet_conditions(parameter, space)}
        if any(key in dropped or overrides.sets(key) for key in unmet):
            dropped.add(parameter.key)
            space = space.without(dropped)
    return space


def experiment_path(path: Path) -> Path:
    """The experiment file that a search space names.

    Raises:
        ConfigError: it names none, or cannot be read.
    """
    return _experiment_path(read_yaml(path), path)


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
    """Conditions and bounds first; file order otherwise."""
    ordered: list[Parameter] = []
    waiting = list(parameters)
    while waiting:
        open_keys = {parameter.key for parameter in waiting}
        ready = [p for p in waiting if not open_keys & p.depends_on]
        if not ready:
            for parameter in waiting:
                line = file.line_of(("parameters", parameter.key))
                rule = "depends on itself through `when` or a bound; remove one of them"
                mistakes.append(Mistake(file.name, line, parameter.key, rule))
            return ordered
        ordered += ready
        waiting = [p for p in waiting if p not in ready]
    return ordered


def _points(
    file: YamlFile, parameters: list[Parameter], overrides: Overrides, mistakes: list[Mistake]
) -> list[Params]:
    raw = file.data.get("points") or []
    if not isinstance(raw, list) or not all(isinstance(point, dict) for point in raw):
        rule = "must be a list of `key: value` mappings"
        mistakes.append(Mistake(file.name, file.line_of(("points",)), "points", rule))
        return []
    by_key = {parameter.key: parameter for parameter in parameters}
    for position, point in enumerate(raw):
        for key, value in point.items():
            line = file.line_of(("points", str(position), key))
            parameter = by_key.get(key)
            if parameter is None:
                rule = "is not among the parameters; a point gives values of searched keys"
            elif overrides.sets(key) or parameter.holds(value):
                continue
            else:
                rule = f"must be {parameter.bounds()}, but is {value!r}"
            mistakes.append(Mistake(file.name, line, key, rule))
    return raw
