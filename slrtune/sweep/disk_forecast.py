"""What a sweep will take on the disk, and whether there is room."""

from __future__ import annotations

import os
import shutil
import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from slrtune.config.errors import UserError
from slrtune.config.experiment import Experiment
from slrtune.config.sweep import SweepConfig

_BYTES_PER_GIB = 2**30
# last.pt, previous.pt, and the file that is written beside them before it takes their place
_NUM_LAST = 3


class CheckpointSize(Protocol):
    """Bytes of a trial's two kinds of checkpoints."""

    @property
    def best_bytes(self) -> int: ...
    @property
    def last_bytes(self) -> int: ...


@dataclass(frozen=True)
class DiskForecast:
    """Checkpoints of a sweep at its fullest moment.

    Attributes:
        typical_gib: where every trial is of the median size that was drawn.
        most_gib: where every one is of the largest.
        num_concurrent: trials at a time, each with its own last ones.
        num_kept: ended trials whose best checkpoint is kept.
    """

    typical_gib: float
    most_gib: float
    num_concurrent: int
    num_kept: int


def forecast_disk(
    experiments: Iterable[Experiment],
    size_of: Callable[[Experiment], CheckpointSize],
    sweep: SweepConfig,
    num_concurrent: int,
) -> DiskForecast | None:
    """The forecast from configurations that were drawn; None where none of them can be built.

    Args:
        experiments: what was drawn from the space.
        size_of: says how large a trial's checkpoints are.
        sweep: how many trials there are, and of how many the best checkpoint is kept.
        num_concurrent: trials at a time.
    """
    num_kept = min(sweep.keep_checkpoints or sweep.max_trials, sweep.max_trials)
    # Of a population all go on to the end, and keep what they go on from.
    num_open = sweep.max_trials if sweep.scheduler == "pbt" else num_concurrent
    needed_gib = []
    for experiment in experiments:
        try:
            size = size_of(experiment)
        except UserError:
            continue  # its trial will say what is wrong with it
        running = num_open * (_NUM_LAST * size.last_bytes + size.best_bytes)
        needed_gib.append((running + num_kept * size.best_bytes) / _BYTES_PER_GIB)
    if not needed_gib:
        return None
    return DiskForecast(statistics.median(needed_gib), max(needed_gib), num_open, num_kept)


def check_disk(forecast: DiskForecast, folder: Path) -> str:
    """Refuse a sweep that cannot fit on the disk.

    Args:
        forecast: what it will take.
        folder: the sweep's, which need not be there yet; what it holds already counts as free.

    Returns:
        A warning where the largest configurations would not fit; empty where all do.

    Raises:
        UserError: not even typical ones fit.
    """
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free_gib = (shutil.disk_usage(there).free + _used_bytes(folder)) / _BYTES_PER_GIB
    told = (
        f"the checkpoints of {forecast.num_concurrent} trial(s) at a time and the best of "
        f"{forecast.num_kept} are expected to take {forecast.typical_gib:.3g} GiB, and up to "
        f"{forecast.most_gib:.3g} GiB, but {there} has {free_gib:.3g} GiB free"
    )
    cure = (
        "lower sweep.keep_checkpoints or sweep.max_concurrent_trials, free some room, or set "
        "runs_dir to a larger disk"
    )
    if forecast.typical_gib > free_gib:
        raise UserError(f"runs_dir: {told}; {cure}")
    return f"The disk may become full: {told}; {cure}" if forecast.most_gib > free_gib else ""


def _used_bytes(folder: Path) -> int:
    files = (Path(parent) / name for parent, _, names in os.walk(folder) for name in names)
    return sum(file.lstat().st_size for file in files)
