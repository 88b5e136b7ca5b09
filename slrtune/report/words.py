"""Figures of trials as people read them, on a screen and on a page."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from slrtune.config.addresses import address_of
from slrtune.sweep.board import TrialRow


def params_text(params: dict[str, Any]) -> str:
    """``depth=2 lr=0.0012``: keys without their sections, numbers in three digits."""
    parts = []
    for key, value in params.items():
        short = f"{value:.3g}" if isinstance(value, float) else str(value)
        parts.append(f"{key.rsplit('.', 1)[-1]}={short}")
    return " ".join(parts)


def peak_memory(row: TrialRow, digits: int = 2) -> str:
    """``1.25``; ``≥ 1.25`` where memory ran out there; a dash where nothing was measured."""
    peak_gib = row.metrics.get("peak_memory_gib")
    bound = "≥ " if row.state == "oom" and peak_gib is not None else ""
    return bound + number(peak_gib, digits)


def percent(share: float | None) -> str:
    """``61.5%``, or a dash."""
    return "–" if share is None else f"{share:.1%}"


def number(value: float | None, digits: int = 2) -> str:
    """``1.25``, or a dash."""
    return "–" if value is None else f"{value:.{digits}f}"


def duration(seconds: float) -> str:
    """``45s``, ``3m05s`` or ``2h10m``."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


def short(path: Path) -> str:
    """Relative to the current folder where that is shorter."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def in_shell(path: Path) -> str:
    """As an argument of a command: by its address where it has one, else as short as can be."""
    return shlex.quote(address_of(path) or short(path))
