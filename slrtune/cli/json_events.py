"""`slrtune sweep --json`: what happens, an event per line; `docs/compare.md` lists them."""

from __future__ import annotations

import json
import math
import sys
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any, TextIO

from slrtune.sweep.board import SweepBoard, TrialRow
from slrtune.sweep.outcomes import PREDICTED_NEED, kept, own_figures
from slrtune.sweep.plan import SweepPlan
from slrtune.sweep.results import SweepResults

# Raised when a field changes its meaning or goes; new ones may come at any time.
SCHEMA = 1


class JsonEvents:
    """Writes a sweep's events. A context manager: entering it says that the sweep starts.

    Args:
        plan: what is run.
        stream: where to; None = standard output.
    """

    def __init__(self, plan: SweepPlan, stream: TextIO | None = None) -> None:
        self._plan, self._stream = plan, stream or sys.stdout
        self._started_s = time.monotonic()
        self._last_epoch: dict[int, int] = {}

    def __enter__(self) -> JsonEvents:
        plan = self._plan
        objective = plan.space.base.objective
        self._write(
            "sweep_started",
            schema=SCHEMA,
            folder=str(plan.folder),
            objective={"metric": objective.best_metric, "mode": objective.mode},
            parameters=[parameter.key for parameter in plan.space.parameters],
            max_trials=plan.sweep.max_trials,
            num_concurrent=plan.share.num_concurrent,
            rungs=plan.sweep.rungs(plan.space.max_epochs),
            budget_gib=plan.budget.budget_gib,
        )
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing: `on_sweep_end` has the results."""

    def on_start(self, row: TrialRow) -> None:
        """A trial was given out."""
        self._write("trial_started", trial=row.number, params=row.params_now, epoch=row.epoch)
        self._last_epoch[row.number] = row.epoch

    def on_epoch(self, row: TrialRow) -> None:
        """A trial reported an epoch; its end, and going on with it, repeat one."""
        if row.epoch <= self._last_epoch.get(row.number, 0):
            return
        self._last_epoch[row.number] = row.epoch
        figures = own_figures(row.metrics)
        self._write(
            "epoch",
            trial=row.number,
            epoch=row.epoch,
            max_epochs=row.max_epochs,
            metrics=figures,
        )

    def on_end(self, row: TrialRow) -> None:
        """A trial ended."""
        self._write("trial_ended", **_told(row))

    def on_infeasible(self, row: TrialRow) -> None:
        """A configuration is predicted over the memory budget."""
        self._write(
            "infeasible",
            trial=row.number,
            params=row.params,
            point=row.metrics.get("point"),
            predicted_need_gib=row.metrics.get(PREDICTED_NEED),
        )

    def on_tick(self, board: SweepBoard) -> None:
        """Nothing: it comes several times a second."""

    def on_interrupt(self) -> None:
        """The trials are being stopped."""
        self._write("interrupted")

    def on_sweep_end(self, results: SweepResults, *, is_whole: bool) -> None:
        """The last event."""
        best = results.best
        self._write(
            "sweep_ended",
            outcome="completed" if is_whole else "interrupted",
            trials=dict(Counter(row.state for row in results.rows)),
            best=None if best is None else _told(best),
            duration_s=round(time.monotonic() - self._started_s, 3),
        )

    def _write(self, event: str, **fields: Any) -> None:
        record = {"event": event, "time": round(time.time(), 3), "sweep": self._plan.folder.name}
        line = json.dumps(_plain({**record, **fields}), ensure_ascii=False, allow_nan=False)
        self._stream.write(line + "\n")
        self._stream.flush()  # a script reads along


def _told(row: TrialRow) -> dict[str, Any]:
    """How a trial is told of when it has ended."""
    return {
        "trial": row.number,
        "outcome": row.state,
        "epoch": row.epoch,
        "value": row.best_value,
        "params": row.params,
        "metrics": own_figures(kept(row.metrics)),
        "error": row.metrics.get("error"),
    }


def _plain(value: Any) -> Any:
    """JSON has neither NaN nor infinity: null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | bool | None) else str(value)
