"""Run a sweep: search space in, study, checkpoints and the best configuration out."""

from __future__ import annotations

import importlib.metadata
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler

from slrtune.cluster.resources import ON_HEAD, TrialShare
from slrtune.cluster.worker_groups import WorkerGroups
from slrtune.config.errors import UserError
from slrtune.config.json_file import write_json
from slrtune.config.objective import Objective
from slrtune.config.search_space import SearchSpace
from slrtune.config.sweep import SweepConfig
from slrtune.sweep.board import SweepBoard
from slrtune.sweep.callback import SweepCallback, SweepWatcher
from slrtune.sweep.constraints import MemoryBudget
from slrtune.sweep.plain import plain_trial
from slrtune.sweep.results import PLAN_FILE
from slrtune.sweep.searcher import TruthfulSearch
from slrtune.sweep.trainable import TRIAL_FOLDER, WarmTrial
from slrtune.sweep.warm_start import WarmStart

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SweepPlan:
    """What a sweep runs.

    Attributes:
        space: the search space with its base experiment.
        folder: the sweep's folder; exists.
        share: what a trial may use, and how many run at a time.
        isolate_trials: start a new Ray Train group for every trial (the plain pattern).
        budget: which configurations are launched.
        warm_start: trials of an earlier sweep that the sampler starts from.
    """

    space: SearchSpace
    folder: Path
    share: TrialShare
    isolate_trials: bool = False
    budget: MemoryBudget = field(default_factory=MemoryBudget)
    warm_start: WarmStart | None = None

    @property
    def sweep(self) -> SweepConfig:
        """The sweep's settings."""
        return self.space.base.sweep


def run_sweep(plan: SweepPlan, board: SweepBoard, watchers: Sequence[SweepWatcher]) -> bool:
    """Run all trials; returns when the last has ended or the user interrupted.

    The result is in the sweep's folder (see `sweep.results`), also after an interrupt.

    Returns:
        Whether all trials ended by themselves.

    Raises:
        UserError: nothing that was drawn fits the memory budget.
    """
    callback = SweepCallback(board, watchers)
    searcher = TruthfulSearch(
        plan.space,
        plan.sweep,
        plan.folder,
        plan.budget,
        callback,
        devices_per_trial=plan.share.num_workers * (plan.share.gpus_per_worker or 1.0),
    )
    if plan.warm_start is not None:
        searcher.study.add_trials(plan.warm_start.trials)
    try:
        if plan.isolate_trials:
            _fit(plan, plain_trial(plan.space, plan.folder, plan.share), searcher, callback)
        else:
            _fit_on_warm_groups(plan, searcher, callback)
    finally:
        num_cut_off = searcher.close_open_trials()
        board.is_exhausted = searcher.is_exhausted
        board.is_out_of_hours = searcher.is_out_of_hours
    if searcher.is_exhausted and not board.rows:
        raise UserError(_nothing_fits(plan, board))
    return num_cut_off == 0


def _nothing_fits(plan: SweepPlan, board: SweepBoard) -> str:
    return (
        f"resources.memory_budget_gib: {board.num_infeasible} configurations were drawn, and all "
        f"are predicted over the budget of {plan.budget.budget_gib:g} GiB, the smallest at "
        f"{board.smallest_infeasible_gib:.3g} GiB; raise the budget, or give the search space "
        "smaller models, batches or clips"
    )


def _fit_on_warm_groups(plan: SweepPlan, searcher: TruthfulSearch, callback: SweepCallback) -> None:
    recycle_after = plan.sweep.max_trials_per_group
    with WorkerGroups(plan.share, plan.folder / "ray_train", recycle_after) as groups:
        trainable = tune.with_parameters(
            WarmTrial, exchange=groups.exchange, space=plan.space, folder=plan.folder
        )
        _fit(plan, trainable, searcher, callback)


def make_scheduler(sweep: SweepConfig, objective: Objective, max_epochs: int) -> TrialScheduler:
    """Tune's scheduler by name; its clock is epochs."""
    if sweep.scheduler == "none":
        return FIFOScheduler()
    return AsyncHyperBandScheduler(
        time_attr="epoch",
        metric=objective.best_metric,
        mode=objective.mode,
        # One more than the last epoch: a trial that trains to its end was not stopped.
        max_t=max_epochs + 1,
        grace_period=sweep.asha.first_rung(max_epochs),
        reduction_factor=sweep.asha.reduction_factor,
    )


def _fit(
    plan: SweepPlan, trainable: Any, searcher: TruthfulSearch, callback: SweepCallback
) -> None:
    tuner = tune.Tuner(
        tune.with_resources(trainable, tune.PlacementGroupFactory([ON_HEAD])),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=make_scheduler(plan.sweep, plan.space.base.objective, plan.space.max_epochs),
            num_samples=plan.sweep.max_trials,
            max_concurrent_trials=plan.share.num_concurrent,
            reuse_actors=not plan.isolate_trials,
            trial_dirname_creator=_trial_folder,
        ),
        run_config=tune.RunConfig(
            name=plan.folder.name,
            storage_path=str(plan.folder.parent),
            callbacks=[callback],
            # the engine writes each trial's checkpoints into its own folder
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            verbose=0,
        ),
    )
    tuner.fit()


def _trial_folder(trial: Any) -> str:
    return TRIAL_FOLDER.format(number=trial.config["number"])


def write_plan(plan: SweepPlan) -> None:
    """Write what the sweep runs into its folder: base configuration, space, share, versions."""
    packages = ("slrtune", "torch", "ray", "optuna", "timm")
    record = {
        "search_space": plan.space.name,
        "experiment": plan.space.base.model_dump(mode="json"),
        "parameters": [parameter.__dict__ for parameter in plan.space.parameters],
        "points": list(plan.space.points),
        "share": plan.share.__dict__,
        "isolate_trials": plan.isolate_trials,
        "budget_gib": plan.budget.budget_gib,
        "warm_start": None if plan.warm_start is None else str(plan.warm_start.folder),
        "versions": {name: importlib.metadata.version(name) for name in packages},
    }
    write_json(plan.folder / PLAN_FILE, record)
