"""A watcher of a sweep that notes what each trial costs the driver, and when it ended."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

from slrtune.cluster.worker import private_memory_gib
from slrtune.sweep.board import SweepBoard, TrialRow


@dataclass(frozen=True)
class TrialEnd:
    """State of the driver when a trial had ended.

    Attributes:
        at_s: wall clock.
        driver_cpu_s: CPU seconds of the driver's process so far, all threads.
        driver_gib: its private memory.
        trained_s: what the trial's engine spent training and validating.
    """

    at_s: float
    driver_cpu_s: float
    driver_gib: float
    trained_s: float


class TrialCosts:
    """Notes the end of every trial."""

    def __init__(self) -> None:
        self.start = self._now(0.0)
        self.ends: list[TrialEnd] = []

    def on_start(self, row: TrialRow) -> None:
        """Nothing."""

    def on_epoch(self, row: TrialRow) -> None:
        """Nothing."""

    def on_end(self, row: TrialRow) -> None:
        """Note the state of the driver."""
        if row.state not in ("completed", "pruned"):
            raise RuntimeError(f"trial {row.number} {row.state}: {row.metrics.get('error')}")
        self.ends.append(self._now(row.metrics["total_s"]))

    def on_infeasible(self, row: TrialRow) -> None:
        """Nothing: there is no budget."""

    def on_tick(self, board: SweepBoard) -> None:
        """Nothing."""

    def on_interrupt(self) -> None:
        """Nothing."""

    def overheads_s(self) -> list[float]:
        """Seconds of each trial beyond its training, in order; of trials one at a time."""
        before = [self.start, *self.ends[:-1]]
        return [
            end.at_s - start.at_s - end.trained_s
            for start, end in zip(before, self.ends, strict=True)
        ]

    def driver_cpu_s(self, first: int, last: int) -> float:
        """CPU seconds of the driver per trial, of trials ``first`` (2 or later) to ``last``."""
        before = self.ends[first - 2]
        return (self.ends[last - 1].driver_cpu_s - before.driver_cpu_s) / (last - first + 1)

    def driver_cpu_s_by_window(self) -> dict[str, float]:
        """CPU seconds of the driver per trial, by `windows`."""
        return {
            f"{first}-{last}": round(self.driver_cpu_s(first, last), 3)
            for first, last in windows(len(self.ends))
        }

    @staticmethod
    def _now(trained_s: float) -> TrialEnd:
        return TrialEnd(time.perf_counter(), time.process_time(), private_memory_gib(), trained_s)


def windows(
    num_trials: int, ends: Sequence[int] = (10, 50, 100, 200, 300, 400, 500)
) -> list[tuple[int, int]]:
    """Which trials are put together, as first and last: from the second on, to each of ``ends``."""
    lasts = [end for end in ends if end < num_trials] + [num_trials]
    firsts = [2, *(last + 1 for last in lasts[:-1])]
    return list(zip(firsts, lasts, strict=True))


def by_window(values: Sequence[float], num_digits: int = 2) -> dict[str, float]:
    """Median of each window: ``{"2-10": 0.5, ...}``."""
    return {
        f"{first}-{last}": round(statistics.median(values[first - 1 : last]), num_digits)
        for first, last in windows(len(values))
    }
