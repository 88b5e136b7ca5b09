"""What differs between the settings that something was made with and those of today."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from slrtune.config.experiment import Experiment


def changed_settings(
    before: Mapping[str, Any], now: Experiment, sections: tuple[str, ...]
) -> dict[str, tuple[Any, Any]]:
    """Dotted key -> value then and value now, of those that differ.

    Args:
        before: sections as JSON, perhaps of an older version: a setting that it did not know yet
            had today's default.
    """
    ours = now.model_dump(mode="json", include=set(sections))
    defaults = dict(_flatten(Experiment().model_dump(mode="json", include=set(sections))))
    then = dict(_flatten({name: before.get(name, {}) for name in sections}))
    today = dict(_flatten(ours))
    old = {**{key: defaults.get(key) for key in today}, **then}
    return {
        key: (old.get(key), today.get(key))
        for key in sorted(old.keys() | today.keys())
        if old.get(key) != today.get(key)
    }


def _flatten(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(value, dict) or (prefix and not value):
        yield prefix, value
        return
    for key, inner in value.items():
        yield from _flatten(inner, f"{prefix}.{key}" if prefix else key)
