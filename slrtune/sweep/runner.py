"""Run a sweep: search space in, study, checkpoints and the best configuration out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from ray import tune
from ray.tune.schedulers import TrialScheduler

from slrtune.cluster.resources import ON_HEAD
from slrtune.cluster.room import telling_who_waits
from slrtune.cluster.session import own_folder_of_ray
from slrtune.cluster.worker_groups import WorkerGroups
from slrtune.config.addresses import shown
from slrtune.config.errors import UserError
from slrtune.config.patience import StorageError
from slrtune.sweep.board import SweepBoard
from slrtune.sweep.callback import SweepCallback, SweepWatcher
from slrtune.sweep.checkpoints import CheckpointKeeper
from slrtune.sweep.folder import TRIAL_FOLDER
from slrtune.sweep.plain import plain_trial
from slrtune.sweep.plan import SweepPlan
from slrtune.sweep.population_scheduler import PopulationScheduler
from slrtune.sweep.population_search import PopulationSearch
from slrtune.sweep.scheduler import make_scheduler
from slrtune.sweep.searcher import TruthfulSearch
from slrtune.sweep.status import ENDED_BY_ITSELF
from slrtune.sweep.storage_watch import StopInTrouble, StorageWatch
from slrtune.sweep.study import be_patient
from slrtune.sweep.trainable import WarmTrial

_logger = logging.getLogger(__name__)


def run_sweep(
    plan: SweepPlan,
    board: SweepBoard,
    watchers: Sequence[SweepWatcher],
    say: Callable[[str], None] = _logger.warning,
    keep: Callable[[], None] | None = None,
) -> bool:
    """Run all trials; returns when the last has ended or the user interrupted.

    What an earlier start in the folder left unfinished comes first. The result is in the sweep's
    folder (see `sweep.results`), also after an interrupt.

    Args:
        plan: what is run.
        board: is kept true.
        watchers: are told of everything.
        say: shows the user what keeps the sweep waiting.
        keep: see `StorageWatch`.

    Returns:
        Whether all trials ended by themselves.

    Raises:
        UserError: nothing that was drawn fits the memory budget, or no worker group is left.
    """
    callback = SweepCallback(board, watchers)
    searcher = _search(plan, callback, say)
    be_patient(searcher.study, plan.space.base.resources.storage_patience_s)
    watch = StorageWatch(searcher, keep)
    board.take_up(trial.row for trial in searcher.earlier)
    keeper = CheckpointKeeper(plan.folder, searcher.study, plan.space.base, board.budget_gib)
    keeper.tidy()  # what a driver that was killed could not
    callback.watch(keeper)
    if searcher.study.user_attrs.get(ENDED_BY_ITSELF):
        searcher.study.set_user_attr(ENDED_BY_ITSELF, False)
    try:
        if board.num_left:
            with telling_who_waits(plan.share, say):
                _run_trials(plan, watch, callback, board.num_left)
    finally:
        board.is_exhausted = searcher.is_exhausted
        board.is_out_of_hours = searcher.is_out_of_hours
        board.is_tried_out = searcher.is_tried_out
        ended_by_itself = board.is_exhausted or board.is_out_of_hours or board.is_tried_out
        num_cut_off = _close(searcher, watch, ended_by_itself=ended_by_itself)
    for key, trouble in {"runs_dir": watch.trouble, "resources": searcher.lost}.items():
        if not trouble:
            continue
        raise UserError(
            f"{key}: {trouble}; the sweep has stopped, and what was finished is kept: "
            f"mend it, then `slrtune sweep --resume {shown(plan.folder)}`"
        )
    if searcher.is_exhausted and not board.rows:
        raise UserError(_nothing_fits(plan, board))
    return num_cut_off == 0 and (not board.num_left or ended_by_itself)


def _search(plan: SweepPlan, callback: SweepCallback, say: Callable[[str], None]) -> TruthfulSearch:
    if plan.sweep.scheduler == "pbt":
        places = plan.share.num_concurrent
        return PopulationSearch(plan.space, plan.folder, plan.budget, callback, places, say)
    return TruthfulSearch(
        plan.space,
        plan.sweep,
        plan.folder,
        plan.budget,
        callback,
        devices_per_trial=plan.share.num_workers * (plan.share.gpus_per_worker or 1.0),
        warm_trials=plan.warm_start.trials if plan.warm_start is not None else (),
    )


def _close(searcher: TruthfulSearch, watch: StorageWatch, *, ended_by_itself: bool) -> int:
    """Leave the study as the next start should find it; how many trials were cut off."""
    try:
        num_cut_off = searcher.close_open_trials()
        searcher.study.set_user_attr(ENDED_BY_ITSELF, ended_by_itself)
        return num_cut_off
    except StorageError as error:
        watch.trouble = watch.trouble or str(error)
        return 0


def _nothing_fits(plan: SweepPlan, board: SweepBoard) -> str:
    return (
        f"resources.memory_budget_gib: {board.num_infeasible} configurations were drawn, and all "
        f"are predicted over the budget of {plan.budget.budget_gib:g} GiB, the smallest at "
        f"{board.smallest_infeasible_gib:.3g} GiB; raise the budget, or give the search space "
        "smaller models, batches or clips"
    )


def _run_trials(
    plan: SweepPlan, watch: StorageWatch, callback: SweepCallback, num_trials: int
) -> None:
    if plan.isolate_trials:
        trial = plain_trial(plan.space, plan.folder, plan.share)
        _fit(plan, trial, watch, callback, num_trials)
        return
    recycle_after = plan.sweep.max_trials_per_group
    with WorkerGroups(plan.share, recycle_after) as groups:
        trainable = tune.with_parameters(
            WarmTrial, exchange=groups.exchange, space=plan.space, folder=plan.folder
        )
        _fit(plan, trainable, watch, callback, num_trials)


def _fit(
    plan: SweepPlan,
    trainable: Any,
    watch: StorageWatch,
    callback: SweepCallback,
    num_trials: int,
) -> None:
    scheduler: TrialScheduler
    if isinstance(watch.search, PopulationSearch):
        scheduler, at_a_time = PopulationScheduler(watch.search, watch), None
    else:
        objective, max_epochs = plan.space.base.objective, plan.space.max_epochs
        scheduler = make_scheduler(plan.sweep, objective, max_epochs, watch.search.earlier)
        at_a_time = plan.share.num_concurrent
    tuner = tune.Tuner(
        tune.with_resources(trainable, tune.PlacementGroupFactory([ON_HEAD])),
        tune_config=tune.TuneConfig(
            search_alg=watch,
            scheduler=scheduler,
            num_samples=num_trials,
            # None = the search says it: Tune would count those that wait for others, too
            max_concurrent_trials=at_a_time,
            reuse_actors=not plan.isolate_trials,
            trial_dirname_creator=_trial_folder,
        ),
        run_config=tune.RunConfig(
            name="ray_tune",
            storage_path=own_folder_of_ray(),
            callbacks=[callback],
            stop=StopInTrouble(watch),
            # the engine writes each trial's checkpoints into its own folder
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            verbose=0,
        ),
    )
    tuner.fit()


def _trial_folder(trial: Any) -> str:
    return TRIAL_FOLDER.format(number=trial.config["number"])
