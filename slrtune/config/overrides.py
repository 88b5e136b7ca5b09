"""`--set key=value`: settings on the command line, which win over the file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from slrtune.config.errors import Mistake
from slrtune.config.yaml_file import parse_yaml


@dataclass(frozen=True)
class Overrides:
    """Settings of the command line.

    Attributes:
        values: dotted key -> value.
        mistakes: pairs that cannot be read; told together with those of the files.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    mistakes: Sequence[Mistake] = ()

    def covers(self, key: str) -> bool:
        """Whether ``key`` itself, or a section that it is in, was set as a whole."""
        return any(key == name or key.startswith(f"{name}.") for name in self.values)

    def sets(self, key: str) -> bool:
        """Whether a value was given for ``key``, on its own or within a section."""
        return key in set(_leaves(self.values))


def read_overrides(pairs: Sequence[str]) -> Overrides:
    """Parse ``key=value`` pairs; values are YAML."""
    values: dict[str, Any] = {}
    mistakes: list[Mistake] = []
    for pair in pairs:
        key, equals, text = pair.partition("=")
        key = key.strip()
        if not equals or not key:
            rule = "must look like key=value, such as training.max_epochs=20"
            mistakes.append(Mistake("--set", 0, pair, rule))
            continue
        try:
            values[key] = parse_yaml(text)
        except (yaml.YAMLError, ValueError):
            mistakes.append(Mistake("--set", 0, key, f"has a value that is no YAML: {text!r}"))
    return Overrides(values, tuple(mistakes))


def set_dotted(raw: dict[str, Any], key: str, value: Any) -> None:
    """Set ``a.b.c`` in nested mappings, making those that are missing.

    Inner mappings on the way are copied: YAML aliases share them between keys.

    Raises:
        KeyError: a value that is not a mapping stands in the way.
    """
    *parents, last = key.split(".")
    node = raw
    for depth, part in enumerate(parents):
        child = node.get(part)
        if child is not None and not isinstance(child, dict):
            where = ".".join(parents[: depth + 1])
            raise KeyError(f"cannot be set, because {where} is a single value; correct the key")
        node[part] = dict(child or {})
        node = node[part]
    node[last] = value


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"
