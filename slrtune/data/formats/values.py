"""Values as annotation files hold them: checked before a manifest has to keep them."""

from __future__ import annotations

import math
from typing import Any

_HIGHEST = 2**31 - 1
"""Of a class's or a frame's number; what the manifest can hold."""
BREAKS_FORMAT = (KeyError, TypeError, ValueError, IndexError, AttributeError)
"""What an entry of a JSON file raises that is built in another way."""


def number(value: object, name: str) -> float:
    """A finite number.

    Raises:
        ValueError: ``value`` is none.
    """
    try:
        found = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if not math.isfinite(found):
        raise ValueError(f"{name} must be a number, but is {value!r}")
    return found


def whole_number(value: object, name: str, lowest: int = -_HIGHEST) -> int:
    """A whole number of at least ``lowest``, also as ``12.0``.

    Raises:
        ValueError: ``value`` is none, or too large for a manifest.
    """
    found = number(value, name)
    if found != int(found) or not lowest <= found <= _HIGHEST:
        raise ValueError(
            f"{name} must be a whole number from {lowest} to {_HIGHEST}, but is {value!r}"
        )
    return int(found)


def text(value: object, name: str) -> str:
    """Text that is not empty.

    Raises:
        ValueError: ``value`` is none.
    """
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{name} must be a text, but is {value!r}")
    return value


def optional_name(value: Any) -> str | None:
    """A signer's name or number as text; None where there is none."""
    return None if value is None else str(value)


def explained(error: Exception) -> str:
    """An error of `BREAKS_FORMAT` as part of a message."""
    if isinstance(error, KeyError):
        return f"it has no {error}"
    return str(error) if type(error) is ValueError else f"{type(error).__name__}: {error}"
