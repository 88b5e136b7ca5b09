"""The trials of a study as plain data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from optuna.trial import FrozenTrial, TrialState

from slrtune.config.objective import Objective
from slrtune.sweep.board import TrialRow
from slrtune.sweep.outcomes import LAST_REPORT, WARM_START_FROM
from slrtune.sweep.schedule import SCHEDULE, first_best_epoch, schedule_from, turn_of


@dataclass(frozen=True)
class EarlierTrial:
    """A trial that an earlier start of the sweep gave out.

    Attributes:
        row: as on the board; one that has not ended is ``interrupted``.
        values: the objective's best value so far, by epoch.
        has_ended: nothing more will come of it.
    """

    row: TrialRow
    values: dict[int, float]
    has_ended: bool


def earlier_trials(trials: Iterable[FrozenTrial], objective: Objective) -> list[EarlierTrial]:
    """All that were given out, by number."""
    return [
        EarlierTrial(row_of(trial, objective), values_by_epoch(trial), trial.state.is_finished())
        for trial in trials
        if was_given_out(trial)
    ]


def was_given_out(trial: FrozenTrial) -> bool:
    """Whether it is a trial of this sweep, and no point that still waits for its first turn."""
    if WARM_START_FROM in trial.user_attrs:
        return False
    return trial.state != TrialState.WAITING or bool(trial.params)


def values_by_epoch(trial: FrozenTrial) -> dict[int, float]:
    """The objective's best value up to each epoch that the trial reported."""
    # Optuna has no intermediate values where there are two objectives.
    accuracies: dict[str, float] = trial.user_attrs.get("accuracies", {})
    return trial.intermediate_values or {int(e): v for e, v in accuracies.items()}


def row_of(trial: FrozenTrial, objective: Objective) -> TrialRow:
    """The trial as on the board."""
    told = dict(trial.user_attrs)
    last_report = told.pop(LAST_REPORT, {})
    schedule = schedule_from(told.pop(SCHEDULE, ()))
    params, best_epoch = dict(trial.params), 0
    if schedule:
        best_epoch = first_best_epoch(values_by_epoch(trial))
        params = dict(turn_of(schedule, best_epoch).params)
    if trial.state.is_finished():
        metrics = {**last_report, **told}
        outcome = metrics.pop("outcome", "interrupted")
    else:
        # A driver that was killed while it told the trial's end has told a part.
        metrics = {**told, **last_report}
        metrics.pop("outcome", None)
        outcome = "interrupted"
    return TrialRow(
        trial.number,
        params,
        objective,
        outcome,
        metrics,
        schedule=schedule,
        best_epoch=best_epoch,
    )
