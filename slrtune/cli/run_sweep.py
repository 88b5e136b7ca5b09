"""A sweep from the user's side: prepare, show, run, sum up."""

from __future__ import annotations

import datetime
from pathlib import Path

from slrtune.cli.console import LiveSweep, say
from slrtune.cli.folders import run_folder
from slrtune.cli.prepare import prepare
from slrtune.cli.summary import print_sweep
from slrtune.cluster.resources import cluster_nodes, share_cluster
from slrtune.cluster.session import library_logs_to, ray_session
from slrtune.cluster.worker_groups import check_folder_is_shared
from slrtune.config.errors import UserError
from slrtune.config.search_space import SearchSpace
from slrtune.sweep.board import SweepBoard
from slrtune.sweep.results import read_results, write_best
from slrtune.sweep.runner import SweepPlan, asha_rungs, run_sweep, write_plan
from slrtune.sweep.tensorboard import TENSORBOARD_FOLDER, TensorBoardWatcher


def run(space: SearchSpace, name: str | None, address: str | None, isolate_trials: bool) -> None:
    """Run a sweep and print what it found.

    Raises:
        UserError: the folder exists, or not even one trial fits the cluster.
        SystemExit: 1 if no trial reported an accuracy, 130 after Ctrl-C.
    """
    base = space.base
    folder = _new_folder(base.runs_dir, name or _default_name(space))
    say(f"Sweep {folder.name}: {len(space.parameters)} parameters of {space.name}, "
        f"up to {base.sweep.max_trials} trials, in {folder}")  # fmt: skip
    prepare(base.data)
    board, is_whole = _run_on_ray(space, folder, address, isolate_trials)
    results = read_results(folder)
    write_best(results)
    print_sweep(results, board)
    if not is_whole:
        raise KeyboardInterrupt
    if results.best is None:
        raise SystemExit(1)


def _run_on_ray(
    space: SearchSpace, folder: Path, address: str | None, isolate_trials: bool
) -> tuple[SweepBoard, bool]:
    """The board at the end, and whether all trials ended by themselves."""
    sweep = space.base.sweep
    with ray_session(address=address, use_dashboard=isolate_trials):
        # More groups than trials would only cost their start.
        limit = min(sweep.max_concurrent_trials or sweep.max_trials, sweep.max_trials)
        share = share_cluster(cluster_nodes(), space.base.resources, limit)
        folder.mkdir(parents=True)
        check_folder_is_shared(folder)
        plan = SweepPlan(space, folder, share, isolate_trials)
        write_plan(plan)
        _say_how(plan)
        board = SweepBoard(folder.name, sweep.max_trials, share.num_concurrent)
        tensorboard = TensorBoardWatcher(folder / TENSORBOARD_FOLDER, space)
        with library_logs_to(folder / "sweep.log"), LiveSweep(board) as live:
            try:
                is_whole = run_sweep(plan, board, (live, tensorboard))
            except KeyboardInterrupt:
                is_whole = False  # a second Ctrl-C: what the study holds is still shown
    return board, is_whole


def _say_how(plan: SweepPlan) -> None:
    share = plan.share
    per_trial = f"{share.num_workers} worker(s) x {share.cpus_per_worker:g} CPU"
    if share.gpus_per_worker:
        per_trial += f" + {share.gpus_per_worker:g} GPU"
    rungs = asha_rungs(plan.sweep, plan.space.max_epochs)
    judged = f"; ASHA judges after epochs {', '.join(map(str, rungs))}" if rungs else ""
    say(f"{share.num_concurrent} trial(s) at a time, {per_trial} each{judged}")


def _default_name(space: SearchSpace) -> str:
    return f"{space.name}-{datetime.datetime.now():%Y%m%d-%H%M%S}"


def _new_folder(runs_dir: Path, name: str) -> Path:
    folder = run_folder(runs_dir, name)
    if folder.exists():
        raise UserError(f"--name: {folder} exists already; choose another name, or remove it")
    return folder
