"""A sweep from the user's side: prepare, show, run, sum up."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from slrtune.cli.console import leave_stdout_to_data, say
from slrtune.cli.console_live import LiveSweep
from slrtune.cli.folders import run_folder, sweep_folder
from slrtune.cli.json_events import JsonEvents
from slrtune.cli.memory_budget import memory_budget, packed_space
from slrtune.cli.prepare import prepare
from slrtune.cli.summary import print_sweep
from slrtune.cluster.autoscaling import wait_for_worker
from slrtune.cluster.resources import cluster_nodes, share_cluster
from slrtune.cluster.session import library_logs_to, ray_session
from slrtune.cluster.worker_groups import check_folder_is_shared
from slrtune.config.errors import UserError
from slrtune.config.search_space import SearchSpace
from slrtune.report.trial_pictures import trial_pictures
from slrtune.sweep.board import SweepBoard
from slrtune.sweep.callback import OpenWatcher
from slrtune.sweep.experiment_loggers import ExperimentLogger
from slrtune.sweep.results import read_results, write_best
from slrtune.sweep.runner import SweepPlan, run_sweep, write_plan
from slrtune.sweep.tensorboard import TENSORBOARD_FOLDER, TensorBoardWatcher
from slrtune.sweep.warm_start import read_warm_start
from slrtune.training.construction import OutputSizes
from slrtune.training.lesson import needs_of, sizes_of


def run(
    space: SearchSpace,
    name: str | None,
    address: str | None,
    isolate_trials: bool,
    warm_start: str | None = None,
    as_json: bool = False,
) -> None:
    """Run a sweep and print what it found.

    Raises:
        UserError: the folder exists, not even one trial fits the cluster, no configuration fits the
            memory budget, or there is no sweep to start from.
        SystemExit: 1 if no trial reported an accuracy, 130 after Ctrl-C.
    """
    if as_json:
        leave_stdout_to_data()
    base = space.base
    folder = _new_folder(base.runs_dir, name or _default_name(space))
    say(f"Sweep {folder.name}: {len(space.parameters)} parameters of {space.name}, "
        f"up to {base.sweep.max_trials} trials, in {folder}")  # fmt: skip
    earlier = warm_start and sweep_folder("--warm-start", warm_start, base.runs_dir)
    if earlier:
        read_results(earlier)  # a mistake comes before any work
    loggers = [ExperimentLogger(name, folder) for name in base.sweep.loggers]
    sizes = sizes_of(base, prepare(base.data, needs_of(base)))
    with ray_session(address=address, use_dashboard=isolate_trials):
        plan = _plan(space, folder, isolate_trials, sizes, earlier or None)
        board = _board(plan)
        shown = JsonEvents(plan) if as_json else LiveSweep(board)
        is_whole = _run_on_ray(plan, board, [shown, *loggers])
        # Before Ray is left: whatever happens there, the user has the results.
        results = read_results(folder)
        write_best(results)
        print_sweep(results, board)
        if isinstance(shown, JsonEvents):
            shown.on_sweep_end(results, is_whole=is_whole)
    if not is_whole:
        raise KeyboardInterrupt
    if results.best is None:
        raise SystemExit(1)


def _plan(
    space: SearchSpace,
    folder: Path,
    isolate_trials: bool,
    sizes: OutputSizes,
    earlier: Path | None,
) -> SweepPlan:
    """What is run on the connected cluster; makes the sweep's folder and records the plan there."""
    space = packed_space(space, sizes)
    sweep, resources = space.base.sweep, space.base.resources
    # More groups than trials would only cost their start.
    limit = min(sweep.max_concurrent_trials or sweep.max_trials, sweep.max_trials)
    share = share_cluster(cluster_nodes(), resources, limit)
    wait_for_worker(share, say)  # an autoscaler's cluster may have none yet
    budget = memory_budget(resources, share.gpus_per_worker, sizes)
    warm = read_warm_start(earlier, space, budget) if earlier else None
    folder.mkdir(parents=True)
    check_folder_is_shared(folder)
    plan = SweepPlan(space, folder, share, isolate_trials, budget, warm)
    write_plan(plan)
    _say_how(plan)
    return plan


def _board(plan: SweepPlan) -> SweepBoard:
    return SweepBoard(
        plan.folder.name,
        plan.sweep.max_trials,
        plan.share.num_concurrent,
        plan.space.base.objective,
        plan.budget.budget_gib,
    )


def _run_on_ray(plan: SweepPlan, board: SweepBoard, watchers: Sequence[OpenWatcher]) -> bool:
    """Run it under the eyes of ``watchers`` and TensorBoard; whether all trials ended by
    themselves."""
    tensorboard = TensorBoardWatcher(plan.folder / TENSORBOARD_FOLDER, plan.space, trial_pictures)
    with library_logs_to(plan.folder / "sweep.log"), ExitStack() as opened:
        for watcher in (tensorboard, *watchers):
            opened.enter_context(watcher)
        try:
            return run_sweep(plan, board, (*watchers, tensorboard))
        except KeyboardInterrupt:
            return False  # a second Ctrl-C: what the study holds is still shown


def _say_how(plan: SweepPlan) -> None:
    share = plan.share
    per_trial = f"{share.num_workers} worker(s) x {share.cpus_per_worker:g} CPU"
    if share.gpus_per_worker:
        per_trial += f" + {share.gpus_per_worker:.3g} GPU"
    rungs = plan.sweep.rungs(plan.space.max_epochs)
    judged = f"; ASHA judges after epochs {', '.join(map(str, rungs))}" if rungs else ""
    say(f"{share.num_concurrent} trial(s) at a time, {per_trial} each{judged}")
    if plan.budget.budget_gib is not None:
        say(f"Memory budget: {plan.budget.budget_gib:.3g} GiB per worker; configurations that are "
            "predicted over it are not launched")  # fmt: skip
    if plan.warm_start is not None:
        warm = plan.warm_start
        say(f"Warm start: {len(warm.trials)} of {warm.num_finished} configurations of "
            f"{warm.folder.name} fit the search space")  # fmt: skip


def _default_name(space: SearchSpace) -> str:
    return f"{space.name}-{datetime.datetime.now():%Y%m%d-%H%M%S}"


def _new_folder(runs_dir: Path, name: str) -> Path:
    folder = run_folder(runs_dir, name)
    if folder.exists():
        raise UserError(f"--name: {folder} exists already; choose another name, or remove it")
    return folder
