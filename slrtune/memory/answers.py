"""What was predicted before, in this process or in another one of the same code."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import timm
import torch

import slrtune
from slrtune.memory.devices import DeviceType
from slrtune.memory.series import StepBytes
from slrtune.training.construction import OutputSizes

_logger = logging.getLogger(__name__)


class Answers:
    """Worst moments by name: in memory, and on disk in ``<cache_dir>/memory``.

    Args:
        device, sizes, num_workers: what the answers are for, beside their names.
    """

    def __init__(self, device: DeviceType, sizes: OutputSizes, num_workers: int) -> None:
        # How much memory there is changes no step; drivers and workers may know it differently.
        kind = dataclasses.replace(device, total_gib=0.0)
        self._context = f"{kind} {sizes} {num_workers > 1}"
        self._known: dict[str, StepBytes] = {}

    def get(self, name: str, cache_dir: Path, compute: Callable[[], StepBytes]) -> StepBytes:
        """The answer called ``name``, computed where it is not known."""
        if name not in self._known:
            text = f"{code_version()} {self._context} {name}"
            path = cache_dir / "memory" / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"
            self._known[name] = _read(path) or _write(path, compute())
        return self._known[name]

    def learn(self, name: str, step: StepBytes) -> None:
        """``step`` is the answer to ``name``, too, in this process."""
        self._known.setdefault(name, step)


def _read(path: Path) -> StepBytes | None:
    try:
        return StepBytes(**{k: float(v) for k, v in json.loads(path.read_text()).items()})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, AttributeError) as error:
        _logger.warning("ignoring the damaged memory prediction %s: %s", path, error)
        return None


def _write(path: Path, step: StepBytes) -> StepBytes:
    partial = path.with_suffix(f".{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(dataclasses.asdict(step)))
        partial.replace(path)
    except OSError as error:
        _logger.warning("cannot keep the memory prediction %s: %s", path, error)
    return step


@cache
def code_version() -> str:
    """Changes with everything that decides what a step allocates."""
    digest = hashlib.sha256(f"{torch.__version__} {timm.__version__}".encode())
    package = Path(slrtune.__file__).parent
    for floor in ("memory", "training", "models"):
        for path in sorted((package / floor).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()
