"""What every benchmark writes beside its figures: where, when, and with which versions."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

_RESULTS = Path(__file__).parent / "results"
_PACKAGES = ("slrtune", "torch", "ray", "optuna", "timm")


def write_record(name: str, figures: dict[str, Any]) -> Path:
    """Write ``benchmarks/results/<name>.json``."""
    path = _RESULTS / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"figures": figures, "machine": _machine()}, indent=2) + "\n")
    return path


def read_record(name: str) -> dict[str, Any]:
    """Figures of another benchmark that a benchmark builds on."""
    record: dict[str, Any] = json.loads((_RESULTS / f"{name}.json").read_text())["figures"]
    return record


def _machine() -> dict[str, Any]:
    import torch

    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    installed = {dist.metadata["Name"].lower() for dist in importlib.metadata.distributions()}
    return {
        "date": f"{datetime.date.today()}",
        "git_commit": commit,
        "python": platform.python_version(),
        "num_cpus": len(os.sched_getaffinity(0)),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "versions": {p: importlib.metadata.version(p) for p in _PACKAGES if p in installed},
    }
