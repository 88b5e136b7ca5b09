"""Ray's OptunaSearch, taught to tell Optuna the truth.

In Ray 2.60 a trial that ASHA stops reaches Optuna as COMPLETE with its early value, and a failed
one as FAIL without a reason. Here a stopped trial is PRUNED with its value of every epoch, every
trial carries its outcome and figures as user attributes, and the study is a file in the sweep's
folder that `optuna-dashboard` opens.
"""

from __future__ import annotations

import logging
import math
import warnings
from pathlib import Path
from typing import Any

import optuna
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from ray.tune.search.optuna import OptunaSearch

from slrtune.config.search_space import SearchSpace
from slrtune.config.sweep import SweepConfig
from slrtune.sweep.board import Outcome

_logger = logging.getLogger(__name__)

OBJECTIVE = "best_val_top1"
STUDY_FILE = "study.log"
# User attribute with a trial's figures so far; at its end they become attributes of their own.
LAST_REPORT = "last_report"
# Figures of a trial that are kept in the study.
_KEPT = (
    "epoch", "max_epochs", "best_val_top1", "best_val_top5", "best_val_loss", "peak_memory_gib",
    "clips_per_s", "total_s", "num_parameters", "outcome", "error",
)  # fmt: skip


class TruthfulSearch(OptunaSearch):
    """`OptunaSearch` whose study says what really happened to each trial.

    Args:
        space: the search space; its ``suggest`` draws by define-by-run.
        sweep: sampler settings.
        folder: the sweep's folder, where the study is kept.
    """

    def __init__(self, space: SearchSpace, sweep: SweepConfig, folder: Path) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        super().__init__(
            space=space.suggest,
            metric=OBJECTIVE,
            mode="max",
            sampler=make_sampler(sweep),
            study_name=folder.name,
            storage=open_storage(folder),
        )
        self._search_space = space
        for point in space.points[: sweep.max_trials]:
            self._ot_study.enqueue_trial(point, skip_if_exists=True)
        self._last_results: dict[str, dict[str, Any]] = {}

    def suggest(self, trial_id: str) -> dict[str, Any]:
        """A trial's number and parameters, as Tune's trial configuration."""
        if trial_id not in self._ot_trials:
            self._ot_trials[trial_id] = self._ot_study.ask()
        ot_trial = self._ot_trials[trial_id]
        return {"number": ot_trial.number, "params": self._search_space.suggest(ot_trial)}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Report an epoch's value."""
        ot_trial = self._ot_trials[trial_id]
        reported_epoch = self._last_results.get(trial_id, {}).get("epoch", 0)
        self._last_results[trial_id] = result
        # A trial's end repeats its last epoch, which Optuna would warn about.
        if OBJECTIVE in result and result["epoch"] > reported_epoch:
            ot_trial.report(result[OBJECTIVE], int(result["epoch"]))
            # With every epoch: what a trial has reached must outlive a driver that is killed.
            ot_trial.set_user_attr(LAST_REPORT, _kept(result))

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tell Optuna how the trial ended."""
        if trial_id in self._completed_trials:
            return
        self._completed_trials.add(trial_id)
        # Tune has no result for a trial whose actor died.
        result = result or self._last_results.get(trial_id, {})
        self.on_trial_result(trial_id, result)
        ot_trial = self._ot_trials[trial_id]
        outcome = outcome_of(result, is_error=error)
        for name, value in {**_kept(result), "outcome": outcome}.items():
            ot_trial.set_user_attr(name, value)
        if outcome == "completed":
            self._ot_study.tell(ot_trial, result[OBJECTIVE])
        else:
            # PRUNED takes its value from the reports; FAIL has none.
            pruned = outcome == "pruned"
            self._ot_study.tell(ot_trial, state=TrialState.PRUNED if pruned else TrialState.FAIL)

    def close_open_trials(self) -> int:
        """Trials that an interrupt cut off must not stay RUNNING for ever.

        Returns:
            How many there were.
        """
        open_ids = self._ot_trials.keys() - self._completed_trials
        for trial_id in sorted(open_ids):
            ot_trial = self._ot_trials[trial_id]
            ot_trial.set_user_attr("outcome", "interrupted")
            self._ot_study.tell(ot_trial, state=TrialState.FAIL)
        return len(open_ids)


def _kept(result: dict[str, Any]) -> dict[str, Any]:
    return {name: result[name] for name in _KEPT if name in result}


def outcome_of(result: dict[str, Any], *, is_error: bool) -> Outcome:
    """How a trial ended, from its last result."""
    if is_error or result.get("outcome") == "error":
        return "error"
    value = result.get(OBJECTIVE)
    if value is None or not math.isfinite(value):
        return "error"
    if result.get("outcome") == "completed" or result["epoch"] >= result["max_epochs"]:
        return "completed"
    return "pruned"


def make_sampler(sweep: SweepConfig) -> BaseSampler:
    """Optuna's sampler by name; the same seed gives the same suggestions."""
    if sweep.sampler == "random":
        return RandomSampler(seed=sweep.seed)
    with warnings.catch_warnings():
        # multivariate, group and constant_liar are "experimental" by name only.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return TPESampler(
            seed=sweep.seed,
            n_startup_trials=sweep.num_startup_trials,
            multivariate=True,
            group=True,  # conditional spaces: model each branch on its own
            constant_liar=True,  # several trials run at a time
        )


def open_storage(folder: Path) -> JournalStorage:
    """The sweep's durable study: an append-only journal, safe on NFS."""
    return JournalStorage(JournalFileBackend(str(folder / STUDY_FILE)))
