"""Tune's schedulers by name, which go on where an earlier start of the sweep ended.

They know trials by their number: a trial that is resumed has another id in Tune.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ray.tune.schedulers import (
    AsyncHyperBandScheduler,
    FIFOScheduler,
    MedianStoppingRule,
    TrialScheduler,
)

from slrtune.config.objective import Objective
from slrtune.config.sweep import SweepConfig
from slrtune.sweep.trials import EarlierTrial

CLOCK = "epoch"


def make_scheduler(
    sweep: SweepConfig,
    objective: Objective,
    max_epochs: int,
    earlier: Sequence[EarlierTrial] = (),
) -> TrialScheduler:
    """The scheduler that a sweep asks for.

    Args:
        sweep: its settings.
        objective: what trials are judged by.
        max_epochs: the longest that any trial trains.
        earlier: trials that an earlier start gave out, which it judges by, too.
    """
    if sweep.scheduler == "none":
        return FIFOScheduler()
    judged = {"time_attr": CLOCK, "metric": objective.best_metric, "mode": objective.mode}
    scheduler: _ASHA | _Median
    if sweep.scheduler == "asha":
        scheduler = _ASHA(
            **judged,
            # One more than the last epoch: a trial that trains to its end was not stopped.
            max_t=max_epochs + 1,
            grace_period=sweep.asha.first_rung(max_epochs),
            reduction_factor=sweep.asha.reduction_factor,
        )
    else:
        scheduler = _Median(
            **judged,
            grace_period=sweep.median.first_epoch(max_epochs),
            min_samples_required=sweep.median.min_trials,
        )
    _replay(scheduler, objective, earlier)
    return scheduler


@dataclass(frozen=True)
class _Numbered:
    """A trial as the schedulers know it: equal to itself after a resume."""

    trial_id: int


def _numbered(trial: Any) -> _Numbered:
    return _Numbered(trial.config["number"])


class _ASHA(AsyncHyperBandScheduler):
    """Asynchronous successive halving by trial numbers."""

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Tune's hook."""
        super().on_trial_add(tune_controller, _numbered(trial))

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Tune's hook."""
        action: str = super().on_trial_result(tune_controller, _numbered(trial), result)
        return action

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Tune's hook."""
        super().on_trial_complete(tune_controller, _numbered(trial), result)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        """Tune's hook."""
        super().on_trial_remove(tune_controller, _numbered(trial))

    def recall(self, trial: _Numbered, results: Sequence[dict[str, Any]], has_ended: bool) -> None:
        """Take down what a trial reported before, as if it had just done so."""
        super().on_trial_add(None, trial)
        for result in results:
            super().on_trial_result(None, trial, result)
        if has_ended and results:
            super().on_trial_complete(None, trial, results[-1])


class _Median(MedianStoppingRule):
    """Median stopping by trial numbers; it never pauses, for a pause would keep a worker group."""

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Tune's hook."""
        action: str = super().on_trial_result(tune_controller, _numbered(trial), result)
        return action

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Tune's hook. Ray would count a failed trial's last result, which may have no value."""
        if self._metric in result:
            super().on_trial_complete(tune_controller, _numbered(trial), result)

    def _on_insufficient_samples(self, tune_controller: Any, trial: Any, time: float) -> str:
        return str(TrialScheduler.CONTINUE)

    def recall(self, trial: _Numbered, results: Sequence[dict[str, Any]], has_ended: bool) -> None:
        """Take down what a trial reported before."""
        for result in results:
            super().on_trial_complete(None, trial, result)


def _replay(
    scheduler: _ASHA | _Median, objective: Objective, earlier: Sequence[EarlierTrial]
) -> None:
    """Tell ``scheduler`` what the trials reported before.

    One that goes on first reports its last epoch again, and is judged there then: the driver may
    have died between the report and the verdict.
    """
    for trial in earlier:
        epochs = sorted(trial.values)
        told = epochs if trial.has_ended else epochs[:-1]
        results = [{CLOCK: epoch, objective.best_metric: trial.values[epoch]} for epoch in told]
        scheduler.recall(_Numbered(trial.row.number), results, trial.has_ended)
