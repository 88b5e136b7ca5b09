"""What a rule between several keys says when it is broken."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BrokenRule:
    """A rule between several keys that a configuration breaks.

    Attributes:
        key: the key that the message is shown at.
        others: the other keys that take part.
        message: rule, values and cure.
    """

    key: str
    others: tuple[str, ...]
    message: str
