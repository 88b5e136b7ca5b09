"""How far a sweep is, from its folder alone: for any process on any machine that sees it."""

from __future__ import annotations

import datetime
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from optuna.trial import FrozenTrial, TrialState

from slrtune.config.addresses import shown
from slrtune.config.errors import UserError
from slrtune.config.json_file import read_json
from slrtune.config.objective import Objective
from slrtune.config.validate import experiment_from_dict
from slrtune.sweep.board import TrialRow, best_of
from slrtune.sweep.folder import PLAN_FILE, STUDY_FILE, is_running
from slrtune.sweep.study import read_study
from slrtune.sweep.trials import row_of, was_given_out

SweepState = Literal["running", "finished", "stopped", "broken"]
"""running: a living process runs it. finished: all its trials have ended, or its search ended
itself. stopped: there is more to do, and nobody does it: interrupted or killed. broken: its folder
cannot be read."""

# Study attribute: why the search ended before all trials, where it did so itself.
ENDED_BY_ITSELF = "ended_by_itself"


@dataclass(frozen=True)
class SweepStatus:
    """How a sweep is doing.

    Attributes:
        name: of its folder.
        state: see `SweepState`.
        max_trials: trials that it will try.
        rows: trials that were given out, by number; ``waiting`` ones were cut off.
        best: the best so far.
        objective: what they are judged by; None where it is broken.
        num_infeasible: configurations predicted over the memory budget.
        began_at: of its first start, as it was written down.
        last_change_s: seconds since something was told to its study.
        time_left_s: rough; None where nothing can be said.
        problem: what is broken.
    """

    name: str
    state: SweepState
    max_trials: int = 0
    rows: Sequence[TrialRow] = ()
    best: TrialRow | None = None
    objective: Objective | None = None
    num_infeasible: int = 0
    began_at: str = ""
    last_change_s: float | None = None
    time_left_s: float | None = None
    problem: str = ""

    @property
    def counts(self) -> dict[str, int]:
        """Trials by state."""
        return dict(sorted(Counter(row.state for row in self.rows).items()))

    @property
    def num_ended(self) -> int:
        """Trials of which nothing more will come."""
        return sum(row.state not in ("running", "waiting") for row in self.rows)


def read_status(folder: Path) -> SweepStatus:
    """How the sweep of a folder is doing.

    Raises:
        UserError: the folder is no sweep's.
    """
    plan_file = folder / PLAN_FILE
    if not plan_file.exists():
        raise UserError(
            f"{shown(folder)}: is not the folder of a sweep (no {PLAN_FILE} in it); name one that "
            "`slrtune sweep` wrote, such as runs/<sweep>"
        )
    try:
        return _status(folder)
    except UserError as error:
        return SweepStatus(folder.name, "broken", problem=str(error))


def sweeps_in(runs_dir: Path) -> list[SweepStatus]:
    """All sweeps of a runs folder, by name."""
    return [read_status(plan.parent) for plan in sorted(runs_dir.glob(f"*/{PLAN_FILE}"))]


def _status(folder: Path) -> SweepStatus:
    plan = read_json(folder / PLAN_FILE, "experiment")
    base = experiment_from_dict(plan["experiment"], str(folder / PLAN_FILE))
    # Before the study is read: one that ends in between is told as running, not as stopped.
    is_alive = is_running(folder)
    journal = folder / STUDY_FILE
    trials: list[FrozenTrial] = []
    has_ended_itself = False
    if journal.exists() and journal.stat().st_size:
        study = read_study(folder)
        has_ended_itself = bool(study.user_attrs.get(ENDED_BY_ITSELF))
        trials = [trial for trial in study.get_trials(deepcopy=False) if was_given_out(trial)]
    rows = [_row(trial, base.objective, is_alive) for trial in trials]
    launched = [row for row in rows if row.state != "infeasible"]
    num_ended = sum(row.state not in ("running", "waiting") for row in launched)
    max_trials = base.sweep.max_trials
    is_finished = num_ended >= max_trials or has_ended_itself
    at_a_time = plan.get("share", {}).get("num_concurrent", 1)
    starts = plan.get("starts", [])
    return SweepStatus(
        folder.name,
        "running" if is_alive else "finished" if is_finished else "stopped",
        max_trials,
        launched,
        best_of(launched, plan.get("budget_gib")),
        base.objective,
        len(rows) - len(launched),
        starts[0]["at"] if starts else "",
        max(0.0, time.time() - journal.stat().st_mtime) if journal.exists() else None,
        _time_left_s(trials, max_trials - num_ended, at_a_time) if is_alive else None,
    )


def _row(trial: FrozenTrial, objective: Objective, is_alive: bool) -> TrialRow:
    row = row_of(trial, objective)
    if not trial.state.is_finished():
        row.state = "running" if is_alive and trial.state == TrialState.RUNNING else "waiting"
    return row


def _time_left_s(trials: Sequence[FrozenTrial], num_left: int, at_a_time: int) -> float | None:
    """Mean time of the trials that ran to an end, over the places that there are."""
    took_s = [
        trial.duration.total_seconds()
        for trial in trials
        if trial.duration is not None and trial.user_attrs.get("outcome") != "infeasible"
    ]
    if not took_s:
        return None
    now = datetime.datetime.now()
    mean_s = statistics.fmean(took_s)
    running_s = sum(
        min(mean_s, (now - trial.datetime_start).total_seconds())
        for trial in trials
        if trial.state == TrialState.RUNNING and trial.datetime_start is not None
    )
    return max(0.0, mean_s * num_left - running_s) / max(1, at_a_time)
