"""Paths as they are meant: no matter from where, or on which machine, they are read later."""

from __future__ import annotations

from pathlib import Path

from slrtune.config.errors import UserError


def absolute(path: Path) -> Path:
    """``path`` from the root, with ``~`` replaced; links stay links.

    Raises:
        UserError: ``~name`` of a user that there is not.
    """
    try:
        return path.expanduser().absolute()
    except RuntimeError:
        rule = "names the home of a user that there is not; write the whole path"
        raise UserError(f"{path}: {rule}") from None
