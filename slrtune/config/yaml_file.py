"""YAML with line numbers: a mistake in a file is reported at the line where it stands."""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from slrtune.config.errors import ConfigError, Mistake, file_error

KeyPath = tuple[str, ...]


class _Loader(yaml.SafeLoader):
    """Safe loading (no object construction), with 1e-4 as a number and every key as text.

    YAML 1.1, which PyYAML follows, reads 1e-4 as text: everyone who writes learning rates trips.
    No setting has a number as its key: as text, it is told as an unknown key at its line.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A dict whose scalar keys are what stands in the file."""
        self.flatten_mapping(node)  # merge keys (<<) first: they are no keys of their own
        for key_node, _ in node.value:
            if isinstance(key_node, yaml.ScalarNode):
                key_node.tag = self.DEFAULT_SCALAR_TAG
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def parse_yaml(text: str) -> Any:
    """The value of a YAML text.

    Raises:
        yaml.YAMLError: the text is not YAML, or has an anchor that contains itself.
        ValueError: a date or number that does not exist.
    """
    return _construct(_compose(text))


def _compose(text: str) -> yaml.Node | None:
    try:
        root: yaml.Node | None = yaml.compose(text, Loader=_Loader)
        if root is not None:
            _refuse_loops(root, frozenset(), set())
    except RecursionError:
        raise yaml.YAMLError("it is nested too deeply") from None
    return root


def _construct(root: yaml.Node | None) -> Any:
    return None if root is None else _Loader("").construct_document(root)


def _refuse_loops(node: yaml.Node, above: frozenset[int], done: set[int]) -> None:
    if id(node) in above:
        raise yaml.MarkedYAMLError(
            problem="an anchor must not contain itself", problem_mark=node.start_mark
        )
    if id(node) in done or isinstance(node, yaml.ScalarNode):
        return
    for child in _children(node):
        _refuse_loops(child, above | {id(node)}, done)
    done.add(id(node))


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [child for pair in node.value for child in pair]
    return list(node.value)


@dataclass
class YamlFile:
    """A YAML mapping and where each of its keys stands.

    Attributes:
        name: file name as the user wrote it, for messages.
        data: the plain mapping.
        lines: key path (list positions as strings) -> 1-based line.
        mistakes: duplicate keys; YAML itself would silently keep the last.
    """

    name: str
    data: dict[str, Any]
    lines: dict[KeyPath, int] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)

    def line_of(self, path: KeyPath) -> int:
        """Line of ``path`` or of its nearest ancestor that stands in the file."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 0)


def read_yaml(path: Path) -> YamlFile:
    """Read a YAML mapping safely (no object construction).

    Raises:
        ConfigError: no such file, not YAML, or not a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise file_error(path, "no such file; check the path") from None
    except (OSError, UnicodeDecodeError) as error:
        raise file_error(path, f"cannot be read: {error}") from None
    try:
        root = _compose(text)
        result = YamlFile(str(path), {})
        if root is not None:
            _note_lines(root, (), result, set())
        data = _construct(root)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        rule = f"is not valid YAML: {error.problem}; mend this line"
        raise ConfigError([Mistake(str(path), line, "", rule)]) from None
    except (yaml.YAMLError, ValueError) as error:
        raise file_error(path, f"is not valid YAML: {error}") from None
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise file_error(path, f"must hold `key: value` lines, but holds a {type(data).__name__}")
    result.data = data
    return result


def _note_lines(node: yaml.Node, path: KeyPath, result: YamlFile, noted: set[int]) -> None:
    # An alias is noted where its anchor stands: aliases of aliases would never end.
    if id(node) in noted:
        return
    noted.add(id(node))
    if isinstance(node, yaml.MappingNode):
        seen: set[Hashable] = set()
        for key_node, value_node in node.value:
            key = str(key_node.value)
            line = key_node.start_mark.line + 1
            if key in seen:
                rule = "stands twice in this file; keep one"
                result.mistakes.append(Mistake(result.name, line, ".".join((*path, key)), rule))
            seen.add(key)
            result.lines[(*path, key)] = line
            _note_lines(value_node, (*path, key), result, noted)
    elif isinstance(node, yaml.SequenceNode):
        for position, item in enumerate(node.value):
            result.lines[(*path, str(position))] = item.start_mark.line + 1
            _note_lines(item, (*path, str(position)), result, noted)
