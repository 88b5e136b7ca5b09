"""A sweep from the user's side: prepare, show, run, sum up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path

from slrtune.cli.console import leave_stdout_to_data, say
from slrtune.cli.console_live import LiveSweep
from slrtune.cli.folders import known_sweeps, sweep_folder
from slrtune.cli.json_events import JsonEvents
from slrtune.cli.new_sweep import default_name, made, new_folder
from slrtune.cli.plan_on_cluster import plan_on_cluster, say_how
from slrtune.cli.prepare import prepare
from slrtune.cli.summary import print_sweep
from slrtune.cluster.session import library_logs_to, ray_session
from slrtune.cluster.worker_groups import check_folder_is_shared
from slrtune.config.addresses import address_of, shown
from slrtune.config.errors import UserError
from slrtune.config.mirror import mirror_of, telling_of_store
from slrtune.config.search_space import SearchSpace
from slrtune.report.trial_pictures import trial_pictures
from slrtune.report.words import in_shell
from slrtune.sweep.at_address import STATUS_FILES, InStep
from slrtune.sweep.board import SweepBoard
from slrtune.sweep.callback import OpenWatcher
from slrtune.sweep.experiment_loggers import ExperimentLogger
from slrtune.sweep.folder import (
    PLAN_FILE,
    STUDY_FILE,
    TENSORBOARD_FOLDER,
    alone_in_sweep,
    refusal_of,
)
from slrtune.sweep.plan import RecordedPlan, SweepPlan, read_plan, write_plan
from slrtune.sweep.results import SweepResults, read_results, write_best
from slrtune.sweep.runner import run_sweep
from slrtune.sweep.stop import stopping_when_asked
from slrtune.sweep.study import mend_journal
from slrtune.sweep.tensorboard import TensorBoardWatcher
from slrtune.training.exhibit import EXHIBIT_FILE
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
    if isolate_trials and address_of(base.runs_dir) is not None:
        raise UserError(
            "--isolate-trials: needs a runs_dir that every node mounts, for its trials run ahead "
            f"of the study; leave it out, or set runs_dir to a folder, not {shown(base.runs_dir)}"
        )
    if base.sweep.scheduler == "pbt" and (isolate_trials or warm_start):
        option = "--isolate-trials" if isolate_trials else "--warm-start"
        raise UserError(
            f"{option}: must be left out with sweep.scheduler pbt, whose trials are drawn at "
            "random, and stop and go on again and again; leave it out, or use asha"
        )
    folder = new_folder(base.runs_dir, name or default_name(space))
    say(f"Sweep {folder.name}: {len(space.parameters)} parameters of {space.name}, "
        f"up to {base.sweep.max_trials} trials, in {shown(folder)}")  # fmt: skip
    earlier = warm_start and _earlier(warm_start, base.runs_dir)
    if earlier:
        read_results(earlier)  # a mistake comes before any work
    _run(
        RecordedPlan(space, isolate_trials, earlier or None),
        folder,
        address,
        made(folder, base.resources.storage_patience_s),
        base.sweep.max_trials,
        as_json,
    )


def resume(
    folder: Path,
    address: str | None,
    num_more: int,
    max_gpu_hours: float | None,
    as_json: bool = False,
) -> None:
    """Go on with a sweep from its folder, whatever ended it; or print what a finished one found.

    Args:
        folder: the sweep's.
        address: of the cluster.
        num_more: trials beyond those that it was started with.
        max_gpu_hours: a new limit; None = as it was.
        as_json: see `run`.

    Raises:
        UserError: there is no sweep, its folder is damaged, another process runs it, or its data
            are gone.
        SystemExit: as from `run`.
    """
    if as_json:
        leave_stdout_to_data()
    if not (folder / PLAN_FILE).exists():
        raise UserError(
            f"--resume: must be a sweep's name in runs_dir or its folder, but {shown(folder)} has "
            f"no {PLAN_FILE}; {known_sweeps(folder.parent)}"
        )
    recorded = read_plan(folder)
    if recorded.space.base.sweep.scheduler == "pbt" and (num_more or max_gpu_hours is not None):
        option = "--extend" if num_more else "--max-gpu-hours"
        raise UserError(
            f"{option}: must be left out for {folder.name}, a population (sweep.scheduler pbt), "
            "whose trials begin and end together; start another sweep"
        )
    patience_s = recorded.space.base.resources.storage_patience_s
    with alone_in_sweep(folder), InStep(folder, patience_s).held(refusal_of(folder), say) as step:
        recorded = read_plan(folder)
        sweep = recorded.space.base.sweep
        changes: dict[str, float] = {"max_trials": sweep.max_trials + num_more}
        changes |= {} if max_gpu_hours is None else {"max_gpu_hours": max_gpu_hours}
        recorded = recorded.with_sweep(sweep.model_copy(update=changes))
        mend_journal(folder / STUDY_FILE)
        earlier = read_results(folder) if _has_study(folder) else None
        num_ended = 0 if earlier is None else len(earlier.ended)
        max_trials = recorded.space.base.sweep.max_trials
        if earlier is not None and num_ended >= max_trials:
            say(f"Sweep {folder.name} is finished: all its {num_ended} trials have ended; "
                "--extend 10 would add ten")  # fmt: skip
            _keep_best(earlier, step)
            print_sweep(earlier)
            return
        say(f"Sweep {folder.name} goes on: {num_ended} of {max_trials} trials have ended, "
            f"{len(earlier.launched) - num_ended if earlier else 0} were cut off")  # fmt: skip
        _run(recorded, folder, address, nullcontext(step), max_trials - num_ended, as_json)


def _run(
    recorded: RecordedPlan,
    folder: Path,
    address: str | None,
    claim: AbstractContextManager[InStep],
    num_left: int,
    as_json: bool,
) -> None:
    """Run what is left of a sweep.

    Args:
        recorded: what it runs.
        folder: the sweep's.
        address: of the cluster.
        claim: makes the folder this process's own, and keeps its address in step with it, once it
            is clear that the cluster can run it.
        num_left: trials that are still to be run.
        as_json: see `run`.
    """
    base = recorded.space.base
    loggers = [ExperimentLogger(name, folder) for name in base.sweep.loggers]
    sizes = sizes_of(base, prepare(base.data, needs_of(base)))
    with ray_session(address=address, use_dashboard=recorded.isolate_trials):
        plan = plan_on_cluster(recorded, folder, sizes, num_left)
        with claim as step:
            check_folder_is_shared(folder)
            write_plan(plan)
            say_how(plan)
            with telling_of_store(folder):
                step.keep_rest()
            board = _board(plan)
            events = JsonEvents(plan) if as_json else LiveSweep(board)
            with stopping_when_asked(folder):
                is_whole = _run_on_ray(plan, board, [events, *loggers], step)
            # Before Ray is left: whatever happens there, the user has the results.
            results = read_results(folder)
            _keep_best(results, step)
            print_sweep(results, board)
            if isinstance(events, JsonEvents):
                events.on_sweep_end(results, is_whole=is_whole)
    if not is_whole:
        say(f"Go on with it: slrtune sweep --resume {in_shell(folder)}", style="yellow")
        raise KeyboardInterrupt
    if results.best is None:
        raise SystemExit(1)


def _board(plan: SweepPlan) -> SweepBoard:
    return SweepBoard(
        plan.folder.name,
        plan.sweep.max_trials,
        plan.share.num_concurrent,
        plan.space.base.objective,
        plan.budget.budget_gib,
    )


def _run_on_ray(
    plan: SweepPlan, board: SweepBoard, watchers: Sequence[OpenWatcher], step: InStep
) -> bool:
    """Run it under the eyes of ``watchers`` and TensorBoard; whether all trials ended by
    themselves."""
    tensorboard = TensorBoardWatcher(plan.folder / TENSORBOARD_FOLDER, plan.space, _pictures)
    if _has_study(plan.folder):
        tensorboard.take_up(read_results(plan.folder).rows)
    with library_logs_to(plan.folder / "sweep.log"), ExitStack() as opened:
        for watcher in (tensorboard, *watchers):
            opened.enter_context(watcher)
        try:
            return run_sweep(plan, board, (*watchers, tensorboard), say, step.keep_study)
        except KeyboardInterrupt:
            return False  # a second Ctrl-C: what the study holds is still shown


def _pictures(folder: Path) -> Mapping[str, bytes]:
    """The worker that trained it may have been on another machine."""
    if (mirror := mirror_of(folder)) is not None:
        mirror.take(EXHIBIT_FILE)
    return trial_pictures(folder)


def _keep_best(results: SweepResults, step: InStep) -> None:
    """Write the best trial's configuration and checkpoint beside the study."""
    write_best(results)
    if results.best is not None:
        trial = results.trial_folder(results.best).name
        try:
            step.keep_best(f"{trial}/checkpoints/best.pt")
        except OSError as error:
            say(f"best.pt is not at the address: {error}", style="yellow")


def _earlier(sweep: str, runs_dir: Path) -> Path:
    return sweep_folder("--warm-start", sweep, runs_dir, *STATUS_FILES)


def _has_study(folder: Path) -> bool:
    path = folder / STUDY_FILE
    return path.exists() and path.stat().st_size > 0
