"""The state of a running sweep as plain data: what the live table and the logs show."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from slrtune.config.objective import Objective
from slrtune.sweep.outcomes import MEMORY, PREDICTED_NEED, Outcome
from slrtune.sweep.schedule import Schedule

TrialState = Outcome | Literal["waiting", "running"]


@dataclass
class TrialRow:
    """One trial.

    Attributes:
        number: the trial's number in the study.
        params: searched values.
        objective: what it is judged by.
        state: what it is doing, or how it ended.
        metrics: the last report.
        schedule: of a trial of a population, all that it was trained with; ``params`` are then
            those of its best epoch.
        best_epoch: of a trial of a population; 0 = not known.
        started_s: monotonic time of the start.
    """

    number: int
    params: dict[str, Any]
    objective: Objective
    state: TrialState = "waiting"
    metrics: dict[str, Any] = field(default_factory=dict)
    started_s: float = field(default_factory=time.monotonic)
    schedule: Schedule = ()
    best_epoch: int = 0

    @property
    def epoch(self) -> int:
        """Finished epochs."""
        return int(self.metrics.get("epoch", 0))

    @property
    def params_now(self) -> dict[str, Any]:
        """What it trains with, or would go on with: not those of its best epoch."""
        return self.schedule[-1].params if self.schedule else self.params

    @property
    def best_value(self) -> float | None:
        """The best value of the objective so far; None before the first report."""
        return self.metrics.get(self.objective.best_metric)

    @property
    def score(self) -> float:
        """The best value so that more is better; minus infinity before the first report."""
        value = self.best_value
        return float("-inf") if value is None else self.objective.score(value)

    @property
    def max_epochs(self) -> int:
        """Epochs of an unstopped trial; 0 before its first report."""
        return int(self.metrics.get("max_epochs", 0))

    def fits(self, budget_gib: float | None) -> bool:
        """Whether its measured peak keeps to a budget; what was not measured is no reason."""
        return budget_gib is None or self.metrics.get(MEMORY, 0.0) <= budget_gib

    @property
    def time_left_s(self) -> float | None:
        """Seconds to the last epoch at the pace so far; None before the first report."""
        if self.state != "running" or not self.epoch:
            return None
        pace_s = self.metrics.get("total_s", 0.0) / self.epoch
        return (self.max_epochs - self.epoch) * pace_s


@dataclass
class SweepBoard:
    """All trials of a sweep.

    Attributes:
        name: the sweep's name.
        max_trials: trials that the sweep will try.
        num_concurrent: trials at a time.
        objective: what trials are judged by.
        budget_gib: memory budget of a worker; None = none.
        rows: launched trials by number.
        num_ended_before: of these, those that had ended before this start of the sweep.
        num_infeasible: configurations that were predicted over the budget and not launched.
        smallest_infeasible_gib: the least that any of these was predicted to need.
        activity: what the search does right now, where that takes long; empty = nothing.
        is_out_of_hours: another trial would not have kept to ``sweep.max_gpu_hours``.
        is_tried_out: every configuration of a grid was tried.
        is_exhausted: the search gave up: nothing that it drew fitted the budget any more.
    """

    name: str
    max_trials: int
    num_concurrent: int
    objective: Objective
    budget_gib: float | None = None
    rows: dict[int, TrialRow] = field(default_factory=dict)
    num_ended_before: int = 0
    started_s: float = field(default_factory=time.monotonic)
    num_infeasible: int = 0
    smallest_infeasible_gib: float = float("inf")
    activity: str = ""
    is_exhausted: bool = False
    is_out_of_hours: bool = False
    is_tried_out: bool = False

    def row(self, number: int, params: dict[str, Any]) -> TrialRow:
        """The trial's row, new where it has none."""
        return self.rows.setdefault(number, TrialRow(number, params, self.objective))

    def take_up(self, rows: Iterable[TrialRow]) -> None:
        """Show what an earlier start of the sweep left: what it did not end waits."""
        for row in rows:
            if row.state == "infeasible":
                self.count_infeasible(row)
            else:
                state = "waiting" if row.state == "interrupted" else row.state
                self.rows[row.number] = replace(row, state=state)
        self.num_ended_before = self.num_ended

    def count_infeasible(self, row: TrialRow) -> None:
        """A configuration is predicted over the budget and not launched."""
        self.rows.pop(row.number, None)
        self.num_infeasible += 1
        needed_gib = row.metrics.get(PREDICTED_NEED, float("inf"))
        self.smallest_infeasible_gib = min(self.smallest_infeasible_gib, needed_gib)

    def count(self, *states: TrialState) -> int:
        """Trials in any of ``states``."""
        return sum(row.state in states for row in self.rows.values())

    @property
    def num_ended(self) -> int:
        """Trials of which nothing more will come."""
        return self.count("completed", "pruned", "oom", "error")

    @property
    def num_left(self) -> int:
        """Trials that have not ended, those included that have not begun."""
        return max(0, self.max_trials - self.num_ended)

    @property
    def best(self) -> TrialRow | None:
        """The best row so far."""
        return best_of(self.rows.values(), self.budget_gib)

    @property
    def time_left_s(self) -> float | None:
        """Rough seconds to the end: ended trials' mean time over the free slots."""
        num_ended_now = self.num_ended - self.num_ended_before
        if not num_ended_now:
            return None
        elapsed_s = time.monotonic() - self.started_s
        return elapsed_s / num_ended_now * self.num_left


def best_of(rows: Iterable[TrialRow], budget_gib: float | None = None) -> TrialRow | None:
    """The best value of the objective of any epoch; the lower validation loss there among equals.

    Whether the scheduler or the user stopped a trial does not matter: the value was measured,
    and its checkpoint is kept. One that ran out of memory, or took more than ``budget_gib``, does
    not count: it cannot be trained again within the budget.
    """
    scored = [row for row in rows if is_ranked(row) and row.fits(budget_gib)]
    return min(scored, key=rank, default=None)


def is_ranked(row: TrialRow) -> bool:
    """Whether the trial may be called better or worse than another."""
    return row.best_value is not None and row.state not in ("oom", "infeasible")


def rank(row: TrialRow) -> tuple[bool, float, float, int]:
    """Sort key that puts the best trial first, and those that are not ranked last, by number."""
    metrics = row.metrics if is_ranked(row) else {}
    return (
        not metrics,
        -row.score if metrics else float("inf"),
        metrics.get("best_val_loss", float("inf")),
        row.number,
    )
