"""Tune's searcher that tells Optuna the truth about every trial.

Ray's own `OptunaSearch` tells Optuna that a trial which ASHA stopped is COMPLETE with its early
value, and that one which ran out of memory is FAIL, of which TPE learns nothing. Here

- a stopped trial is PRUNED with its value of every epoch;
- a configuration predicted over the memory budget is PRUNED with a violated constraint, and never
  launched; so is a trial that ran out of memory all the same;
- FAIL is what says nothing about the configuration: a mistake, a bug;
- what an interrupt cut off is WAITING: the next start of the sweep goes on with it;
- with two objectives, where Optuna knows neither intermediate values nor a value of a PRUNED trial,
  a stopped trial is COMPLETE with the accuracy and memory that were measured: a checkpoint with
  exactly these exists. Its epochs are in the user attribute `accuracies`, its end in `outcome`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import optuna
from optuna.trial import FrozenTrial, TrialState
from ray.tune.search import Searcher

from slrtune.config.search_space import Params, SearchSpace
from slrtune.config.sweep import SweepConfig
from slrtune.sweep.board import TrialRow
from slrtune.sweep.constraints import CONSTRAINT, MemoryBudget, Prediction
from slrtune.sweep.outcomes import (
    INFERENCE_MEMORY,
    LAST_REPORT,
    PREDICTED_NEED,
    Outcome,
    kept,
    outcome_of,
)  # fmt: skip
from slrtune.sweep.sampler import make_sampler
from slrtune.sweep.spending import Spending
from slrtune.sweep.study import objectives, reopen, take_up_study
from slrtune.sweep.trials import earlier_trials

# After this long Tune gets its turn, so that running trials are not kept waiting.
_MAX_SEARCH_S = 2.0


class SearchListener(Protocol):
    """Who wants to know what the search does between two trials."""

    def on_predict(self, number: int) -> None:
        """A configuration was drawn and its memory is being predicted, which may take seconds."""

    def on_infeasible(self, row: TrialRow) -> None:
        """A configuration is predicted over the budget and not launched."""


class TruthfulSearch(Searcher):
    """Draws configurations that fit the budget, and keeps the study.

    Where the folder holds a study, it goes on: first the trials that were cut off, then new ones.

    Args:
        space: the search space; its ``suggest`` draws by define-by-run.
        sweep: sampler settings.
        folder: the sweep's folder, where the study is kept.
        budget: which configurations fit.
        listener: is told of predictions and of configurations that do not fit.
        devices_per_trial: what ``sweep.max_gpu_hours`` counts of a trial.
        warm_trials: of an earlier sweep; a new study starts with them.

    Attributes:
        study: the study.
        earlier: trials that an earlier start of this sweep gave out.
        is_exhausted: ``sweep.max_draws_per_trial`` configurations in a row did not fit.
        is_out_of_hours: another trial would not have kept to ``sweep.max_gpu_hours``.
        is_tried_out: every configuration of the grid was given out.
        lost: why nobody is left to train; empty = somebody is.
    """

    def __init__(
        self,
        space: SearchSpace,
        sweep: SweepConfig,
        folder: Path,
        budget: MemoryBudget | None = None,
        listener: SearchListener | None = None,
        devices_per_trial: float = 1.0,
        warm_trials: Sequence[FrozenTrial] = (),
    ) -> None:
        super().__init__()
        self._space, self._sweep = space, sweep
        self._objective = space.base.objective
        self._budget = budget or MemoryBudget()
        self._listener = listener
        self._sampler = make_sampler(sweep, space, self._budget)
        self.study = take_up_study(folder, sweep, self._objective, self._sampler, warm_trials)
        trials = self.study.get_trials(deepcopy=False)
        known = {trial.user_attrs.get("point") for trial in trials}
        for position, point in enumerate(space.points[: sweep.max_trials], 1):
            if position not in known:
                self.study.enqueue_trial(point, user_attrs={"point": position})
        self.earlier = earlier_trials(trials, self._objective)
        self._open: dict[str, optuna.Trial] = {}
        self._last_results: dict[str, dict[str, Any]] = {}
        self._num_misses = 0
        self.lost = ""
        self._spending = Spending(sweep.max_gpu_hours, devices_per_trial)
        for trial in self.earlier:
            if trial.row.state == "infeasible":
                continue
            self._spend(trial.row.number, trial.row.metrics)
            if trial.has_ended:
                self._spending.end(trial.row.number)
        self.is_exhausted = self.is_out_of_hours = self.is_tried_out = False

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next configuration that fits, as Tune's trial configuration: number, parameters, and
        how many epochs of it the study knows.

        None after some seconds without one: Tune asks again once it has looked at its trials.
        """
        if self.lost:
            return Searcher.FINISHED
        if not self._spending.allows_another():
            if self._open:
                return None  # what runs may end early and leave room
            self.is_out_of_hours = True
            return Searcher.FINISHED
        started_s = time.monotonic()
        while self._num_misses < self._sweep.max_draws_per_trial:
            if self._nothing_is_left():
                self.is_tried_out = True
                return Searcher.FINISHED
            trial = self.study.ask()
            params = self._space.suggest(trial)
            last_report = trial.user_attrs.get(LAST_REPORT, {})
            # What has trained before fits.
            if last_report or self._fits(trial, params):
                self._num_misses = 0
                self._open[trial_id] = trial
                self._last_results[trial_id] = last_report
                # It runs, though its first epoch may take long.
                self._spend(trial.number, last_report)
                num_told = last_report.get("epoch", 0)
                return {"number": trial.number, "params": params, "num_told": num_told}
            self._num_misses += 1
            self._tell(trial, "infeasible", {})
            if self._listener is not None:
                figures = dict(trial.user_attrs)
                row = TrialRow(trial.number, params, self._objective, "infeasible", figures)
                self._listener.on_infeasible(row)
            if time.monotonic() - started_s > _MAX_SEARCH_S:
                return None
        self.is_exhausted = True
        return Searcher.FINISHED

    def _nothing_is_left(self) -> bool:
        trials = self.study.get_trials(deepcopy=False)
        return self._sampler.is_tried_out(trials) and all(
            trial.state != TrialState.WAITING for trial in trials
        )

    def _fits(self, trial: optuna.Trial, params: Params) -> bool:
        if self._listener is not None and self._budget.can_predict:
            self._listener.on_predict(trial.number)
        prediction = self._budget.predict(self._space, params)
        note_prediction(trial, prediction)
        return self._budget.fits(prediction)

    def _spend(self, number: int, figures: Mapping[str, Any]) -> None:
        share_done = figures.get("epoch", 0) / max(figures.get("max_epochs", 0), 1)
        self._spending.note(number, figures.get("total_s", 0.0), share_done)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Note an epoch's value."""
        trial = self._open[trial_id]
        last = self._last_results.get(trial_id, {})
        self._last_results[trial_id] = result
        self._spend(trial.number, result)
        # A trial's end and its resumption repeat its last epoch, which Optuna would warn about.
        name = self._objective.best_metric
        if name not in result or result["epoch"] <= last.get("epoch", 0):
            return
        epoch, value = int(result["epoch"]), result[name]
        if self._sweep.objective == "pareto":
            # Optuna has no intermediate values where there are two objectives.
            accuracies = {**trial.user_attrs.get("accuracies", {}), str(epoch): value}
            trial.set_user_attr("accuracies", accuracies)
        else:
            trial.report(value, epoch)
        # With every epoch: what a trial has reached must outlive a driver that is killed.
        trial.set_user_attr(LAST_REPORT, kept(result))

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tell Optuna how the trial ended."""
        if trial_id not in self._open:
            return  # Tune may say so twice
        # Tune has no result for a trial whose actor died.
        result = result or self._last_results.get(trial_id, {})
        self.on_trial_result(trial_id, result)
        trial = self._open.pop(trial_id)
        self._spending.end(trial.number)
        outcome = outcome_of(result, self._objective, is_error=error)
        if outcome == "interrupted":
            self.lost = str(result.get("error", "its worker group was lost"))
            return  # it stays open, and waits for the next start
        self._tell(trial, outcome, result)

    def close_open_trials(self) -> int:
        """Trials that an interrupt cut off wait for the next start of the sweep.

        Returns:
            How many there were.
        """
        self._open.clear()
        return reopen(self.study)

    def _tell(self, trial: optuna.Trial, outcome: Outcome, result: dict[str, Any]) -> None:
        for name, value in {**kept(result), "outcome": outcome, "ended_at": time.time()}.items():
            trial.set_user_attr(name, value)
        figures = trial.user_attrs
        if outcome == "error":
            self.study.tell(trial, state=TrialState.FAIL)
            return
        over_gib = self._budget.violation_gib(outcome, figures)
        if over_gib is not None:
            trial.set_constraint(CONSTRAINT, over_gib)
        wanted = objectives(self._sweep, self._objective)
        values = [figures[name] for name in wanted if name in figures]
        is_pareto = self._sweep.objective == "pareto"
        has_values = len(values) == len(self.study.directions)
        if has_values and (outcome == "completed" or (outcome == "pruned" and is_pareto)):
            self.study.tell(trial, values)
        else:
            # PRUNED takes its value from the reports.
            self.study.tell(trial, state=TrialState.PRUNED)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the study in the sweep's folder is the record."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, see `save`."""

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its settings with the searcher in them; who watches stays here.
        return {**self.__dict__, "_listener": None}


def note_prediction(trial: optuna.Trial, prediction: Prediction | None) -> None:
    """Keep what a trial is predicted to need."""
    if prediction is not None:
        trial.set_user_attr(PREDICTED_NEED, prediction.train_peak_gib)
        trial.set_user_attr(INFERENCE_MEMORY, prediction.inference_peak_gib)
