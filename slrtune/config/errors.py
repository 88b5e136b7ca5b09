"""Errors that a user can mend: one clear message and exit code 2, never a traceback."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


class UserError(Exception):
    """Input that breaks a rule. The message states the rule, the value, the place and the cure."""


@dataclass(frozen=True, order=True)
class Mistake:
    """One mistake in a YAML file.

    Attributes:
        file: the YAML file, or ``--set`` for an override on the command line.
        line: 1-based line in ``file``; 0 where a line makes no sense.
        key: dotted key, such as ``training.max_epochs``.
        message: rule, value and cure.
    """

    file: str
    line: int
    key: str
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.key} {self.message}" if self.key else f"{place}: {self.message}"


class ConfigError(UserError):
    """All mistakes of a configuration at once, in file order."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = sorted(set(mistakes))
        super().__init__("\n".join(str(mistake) for mistake in self.mistakes))


def file_error(path: str | Path, rule: str) -> ConfigError:
    """One mistake that concerns a whole file (missing, unreadable, no YAML)."""
    return ConfigError([Mistake(str(path), 0, "", rule)])
