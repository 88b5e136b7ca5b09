"""A sweep from the user's side: prepare, show, run, sum up."""

from __future__ import annotations

import datetime
from pathlib import Path

from slrtune.cli.console import LiveSweep, say
from slrtune.cli.prepare import prepare
from slrtune.cli.summary import print_sweep
from slrtune.cluster.resources import cluster_nodes, share_cluster
from slrtune.cluster.session import library_logs_to, ray_session
from slrtune.config.errors import UserError
from slrtune.config.search_space import SearchSpace
from slrtune.sweep.board import SweepBoard
from slrtune.sweep.results import read_results, write_best
from slrtune.sweep.runner import SweepPlan, asha_rungs, run_sweep, write_plan
from slrtune.sweep.tensorboard import TENSORBOARD_FOLDER, TensorBoardWatcher


def run(space: SearchSpace, name: str | None, address: str | None, isolate_trials: bool) -> None:
    """Run a sweep and print what it found."""
    base = space.base
    folder = _new_folder(base.runs_dir, name or _default_name(space))
    say(f"Sweep {folder.name}: {len(space.parameters)} parameters of {space.name}, "
        f"up to {base.sweep.max_trials} trials, in {folder}")  # fmt: skip
    prepare(base.data)
    folder.mkdir(parents=True)
    with (
        ray_session(address=address, use_dashboard=isolate_trials),
        library_logs_to(folder / "sweep.log"),
    ):
        share = share_cluster(cluster_nodes(), base.resources, base.sweep.max_concurrent_trials)
        plan = SweepPlan(space, folder, share, isolate_trials)
        write_plan(plan)
        _say_how(plan)
        board = SweepBoard(folder.name, base.sweep.max_trials, share.num_concurrent)
        tensorboard = TensorBoardWatcher(folder / TENSORBOARD_FOLDER, space)
        with LiveSweep(board) as live:
            is_whole = run_sweep(plan, board, (live, tensorboard))
    results = read_results(folder)
    write_best(results)
    print_sweep(results, board)
    if not is_whole:
        raise KeyboardInterrupt


def _say_how(plan: SweepPlan) -> None:
    share = plan.share
    per_trial = f"{share.num_workers} worker(s) x {share.cpus_per_worker:g} CPU"
    if share.gpus_per_worker:
        per_trial += f" + {share.gpus_per_worker:g} GPU"
    rungs = asha_rungs(plan.sweep, plan.space.base.training.max_epochs)
    judged = f"; ASHA judges after epochs {', '.join(map(str, rungs))}" if rungs else ""
    say(f"{share.num_concurrent} trial(s) at a time, {per_trial} each{judged}")


def _default_name(space: SearchSpace) -> str:
    return f"{space.name}-{datetime.datetime.now():%Y%m%d-%H%M%S}"


def _new_folder(runs_dir: Path, name: str) -> Path:
    if Path(name).name != name or name.startswith("."):
        raise UserError(f"--name: must be a plain folder name, but is {name!r}")
    folder = runs_dir.expanduser().resolve() / name
    if folder.exists():
        raise UserError(f"--name: {folder} exists already; choose another name, or remove it")
    return folder
