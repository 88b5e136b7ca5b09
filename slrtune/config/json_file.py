"""Records in JSON: written whole or not at all, and read only when whole."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slrtune.config.errors import UserError


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    """Put a record in place; a reader never sees half of it."""
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(json.dumps(record, indent=2, ensure_ascii=False))
        file.flush()
        os.fsync(file.fileno())  # a rename may reach the disk before what was written
    partial.replace(path)


def read_json(path: Path, *keys: str) -> dict[str, Any]:
    """A record that has ``keys``.

    Raises:
        UserError: it cannot be read, is no JSON, or lacks a key.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: must hold a JSON record, but {error}; {_CURE}") from None
    missing = [key for key in keys if not isinstance(record, dict) or key not in record]
    if missing or not isinstance(record, dict):
        raise UserError(f"{path}: must hold {', '.join(keys)}, but does not; {_CURE}")
    return record


_CURE = "it is damaged: restore it, or remove its folder and start again"
