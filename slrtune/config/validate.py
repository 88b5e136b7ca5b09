"""Validate a raw mapping into an `Experiment`, or list every mistake in it with its place."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from slrtune.config.addresses import masked
from slrtune.config.errors import ConfigError, Mistake, file_error
from slrtune.config.experiment import Experiment
from slrtune.config.overrides import Overrides, set_dotted
from slrtune.config.paths import absolute
from slrtune.config.rules import broken_rules
from slrtune.config.yaml_file import KeyPath, read_yaml

Place = Callable[[KeyPath], tuple[str, int]]


def load_experiment(
    path: Path, overrides: Overrides | None = None, *, is_for_elsewhere: bool = False
) -> Experiment:
    """Read, override and validate an experiment file.

    Paths in it may be relative to the current folder; in the result they are absolute.

    Args:
        path: the YAML file.
        overrides: settings that win over the file.
        is_for_elsewhere: paths are those of another machine: they stay as they are written, and
            nobody looks whether they are there.

    Raises:
        ConfigError: with every mistake of the file and the overrides at once.
    """
    overrides = overrides or Overrides()
    file = read_yaml(path)
    if "parameters" in file.data:
        rule = "is a search space, not an experiment; search it with `slrtune sweep`"
        raise file_error(path, rule)
    raw, mistakes = _overridden(file.data, overrides)
    raw.setdefault("name", path.stem)

    def place(loc: KeyPath) -> tuple[str, int]:
        return ("--set", 0) if overrides.covers(".".join(loc)) else (file.name, file.line_of(loc))

    experiment, found = validate(raw, place, check_paths=not is_for_elsewhere)
    mistakes += [*file.mistakes, *found]
    if experiment is None or mistakes:
        raise ConfigError(mistakes)
    return experiment if is_for_elsewhere else _with_absolute_paths(experiment)


def _overridden(
    raw: Mapping[str, Any], overrides: Overrides
) -> tuple[dict[str, Any], list[Mistake]]:
    """``raw`` with the overrides set, and the mistakes in these."""
    result, mistakes = dict(raw), list(overrides.mistakes)
    for key, value in overrides.values.items():
        try:
            set_dotted(result, key, value)
        except KeyError as error:
            mistakes.append(Mistake("--set", 0, key, error.args[0]))
    return result, mistakes


def _with_absolute_paths(experiment: Experiment) -> Experiment:
    data = experiment.data
    paths = {name: getattr(data, name) for name in ("root", "keypoints", "cache_dir")}
    given: dict[str, Any] = {
        name: absolute(path) for name, path in paths.items() if path is not None
    }
    given["annotations"] = tuple(absolute(file) for file in data.annotations)
    if data.pack is not None and "://" not in data.pack:
        given["pack"] = str(absolute(Path(data.pack)))
    return experiment.model_copy(
        update={
            "data": data.model_copy(update=given),
            "runs_dir": absolute(experiment.runs_dir),
        }
    )


def validate(
    raw: Mapping[str, Any], place: Place, *, check_paths: bool = False
) -> tuple[Experiment | None, list[Mistake]]:
    """Validate ``raw``; mistakes of single keys and of rules between keys come together.

    Rules between keys are judged on the configuration with its wrong keys put back to their
    defaults, and only reported where no wrong key takes part in them.

    Args:
        check_paths: whether the data must be there, now and on this machine.
    """
    experiment, mistakes = validate_keys(raw, place)
    wrong = {mistake.key for mistake in mistakes}
    for broken in broken_rules(experiment, check_paths=check_paths):
        keys = (broken.key, *broken.others)
        if not wrong.intersection(keys):
            where = next((key for key in keys if _is_given(raw, key)), broken.key)
            file, line = place(tuple(where.split(".")))
            mistakes.append(Mistake(file, line, broken.key, broken.message))
    return (None if mistakes else experiment), mistakes


def validate_keys(raw: Mapping[str, Any], place: Place) -> tuple[Experiment, list[Mistake]]:
    """Validate each key of ``raw`` alone.

    Returns:
        The experiment with every wrong key put back to its default, and the mistakes.
    """
    try:
        return Experiment.model_validate(raw), []
    except ValidationError as error:
        details = error.errors()
    by_path: dict[KeyPath, list[ErrorDetails]] = {}
    for detail in details:
        path = _without_union_tags(tuple(str(part) for part in detail["loc"]), raw)
        by_path.setdefault(path, []).append(detail)
    repaired = copy.deepcopy(dict(raw))
    for path in by_path:
        _remove(repaired, path)
    mistakes = [_mistake(found, path, place) for path, found in by_path.items()]
    return Experiment.model_validate(repaired), mistakes


def with_params(base: Experiment, params: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` as a plain mapping, with a trial's parameters (dotted key -> value) set."""
    raw = base.model_dump(mode="json")
    for key, value in params.items():
        set_dotted(raw, key, value)
    return raw


def experiment_from_dict(
    raw: Mapping[str, Any], source: str, overrides: Overrides | None = None
) -> Experiment:
    """Validate a plain mapping, such as a resolved configuration with a trial's parameters.

    Whether its paths exist is not looked at: it may be read on another machine, or years later.

    Args:
        source: stands for the file in messages.
        overrides: settings that win over ``raw``; with them all paths become absolute.

    Raises:
        ConfigError: with every mistake.
    """
    merged, mistakes = _overridden(raw, overrides or Overrides())

    def place(loc: KeyPath) -> tuple[str, int]:
        is_override = overrides is not None and overrides.covers(".".join(loc))
        return ("--set" if is_override else source, 0)

    experiment, found = validate(merged, place)
    mistakes += found
    if experiment is None or mistakes:
        raise ConfigError(mistakes)
    return experiment if overrides is None else _with_absolute_paths(experiment)


def known_keys(section: type[BaseModel] = Experiment, prefix: str = "") -> list[str]:
    """All dotted keys of single values, such as ``training.learning_rate``."""
    keys: list[str] = []
    for name, info in section.model_fields.items():
        annotation = info.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            keys += known_keys(annotation, f"{prefix}{name}.")
        else:
            keys.append(prefix + name)
    return keys


def suggestion(key: str) -> str:
    """``; did you mean x?`` for a key that is not known: misspelt, shortened, or misplaced."""
    keys = known_keys()
    section, _, last = key.rpartition(".")
    siblings = [known for known in keys if known.rpartition(".")[0] == section]
    by_name = {known.rpartition(".")[2]: known for known in siblings}
    misspelt = [by_name[name] for name in difflib.get_close_matches(last, by_name, n=1)]
    # lr for learning_rate, epochs for max_epochs
    shortened = [known for name, known in by_name.items() if _is_short_for(last, name)]
    misplaced = [known for known in keys if known.rpartition(".")[2] == last]
    whole = difflib.get_close_matches(key, keys, n=1, cutoff=0.85)
    candidates = misspelt or shortened[:3] or misplaced[:3] or whole
    return f"; did you mean {' or '.join(candidates)}?" if candidates else "; remove it"


def _is_short_for(short: str, name: str) -> bool:
    initials = "".join(word[0] for word in name.split("_"))
    return short == initials or short in name.split("_")


def _mistake(details: list[ErrorDetails], path: KeyPath, place: Place) -> Mistake:
    dotted = ".".join(path)
    kind, value = details[0]["type"], details[0]["input"]
    if kind == "extra_forbidden":
        message = "is not a known key" + suggestion(dotted)
    elif kind == "model_type":
        message = f"must be a section of `key: value` lines, but is {value!r}"
    else:
        # A key that takes several types has one detail for each of them.
        rules = [detail["msg"].removeprefix("Input should be ") for detail in details]
        message = f"must be {' or '.join(dict.fromkeys(rules))}, but is {masked(repr(value))}"
    file, line = place(path)
    return Mistake(file, line, dotted, message)


def _without_union_tags(path: KeyPath, raw: Mapping[str, Any]) -> KeyPath:
    """Drop pydantic's type tags (``bool``, ``str``…) behind a value that is not a mapping."""
    node: Any = raw
    for depth, part in enumerate(path):
        if not isinstance(node, Mapping):
            return path[:depth]
        node = node.get(part)
    return path


def _remove(raw: dict[str, Any], path: KeyPath) -> None:
    node: Any = raw
    for part in path[:-1]:
        node = node.get(part) if isinstance(node, dict) else None
    if isinstance(node, dict):
        node.pop(path[-1], None)


def _is_given(raw: Mapping[str, Any], key: str) -> bool:
    node: Any = raw
    for part in key.split("."):
        if not isinstance(node, Mapping) or part not in node:
            return False
        node = node[part]
    return True
