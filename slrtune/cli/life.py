"""`slrtune list`, `slrtune status` and `slrtune stop`: sweeps seen from any shell."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from slrtune.cli.options import JobAddressOption, RunsOption

if TYPE_CHECKING:
    from slrtune.sweep.status import SweepStatus

SweepArgument = Annotated[str, typer.Argument(help="The sweep's name, or its folder.")]
_WATCH_S = 2.0


def list_sweeps(runs_dir: RunsOption = Path("runs")) -> None:
    """List the sweeps in runs_dir: which run, which are finished, and which could be resumed."""
    from slrtune.cli.console import say, table
    from slrtune.config.addresses import shown
    from slrtune.sweep.at_address import copy_all_for_reader
    from slrtune.sweep.status import sweeps_in

    copy_all_for_reader(runs_dir)
    found = sweeps_in(runs_dir.expanduser())
    if not found:
        say(f"{shown(runs_dir)} holds no sweep; `slrtune sweep` starts one")
        return
    rows = [
        (
            sweep.name,
            sweep.state,
            f"{sweep.num_ended}/{sweep.max_trials}" if sweep.max_trials else "–",
            _best(sweep),
            sweep.began_at[:16] or "–",
            _ago(sweep),
        )
        for sweep in found
    ]
    columns = ("sweep", "state", "trials", "best", "began", "last change")
    table(f"Sweeps in {shown(runs_dir)}", columns, rows)
    for sweep in found:
        if sweep.problem:
            say(f"  {sweep.name} is broken: {sweep.problem}", style="red")


def status(
    context: typer.Context,
    sweep: SweepArgument,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show it again every two seconds until it ends.")
    ] = False,
    runs_dir: RunsOption = Path("runs"),
    address: JobAddressOption = None,
) -> None:
    """Say how far a sweep is, and how good: from its folder, while it runs and afterwards."""
    if address is not None:
        from slrtune.cli.on_cluster import run_there

        run_there(context, address, sweep)
        return
    from slrtune.cli.console import clear
    from slrtune.cli.folders import sweep_folder
    from slrtune.sweep.at_address import STATUS_FILES
    from slrtune.sweep.status import read_status

    folder = sweep_folder("SWEEP", sweep, runs_dir, *STATUS_FILES)
    seen = read_status(folder)
    _print_status(seen, folder)
    while watch and seen.state == "running":
        time.sleep(_WATCH_S)
        sweep_folder("SWEEP", sweep, runs_dir, *STATUS_FILES)
        seen = read_status(folder)
        clear()
        _print_status(seen, folder)


def stop(
    context: typer.Context,
    sweep: SweepArgument,
    wait_s: Annotated[
        float, typer.Option(min=0.0, help="How long to wait until it has ended.")
    ] = 180.0,
    runs_dir: RunsOption = Path("runs"),
    address: JobAddressOption = None,
) -> None:
    """Stop a running sweep cleanly, as Ctrl-C does: `slrtune sweep --resume` goes on with it.

    Its trials keep their last checkpoint, its results are written, and its processes end.
    """
    if address is not None:
        from slrtune.cli.on_cluster import run_there

        run_there(context, address, sweep)
        return
    from slrtune.cli.console import say
    from slrtune.cli.folders import sweep_folder
    from slrtune.config.errors import UserError
    from slrtune.report.words import in_shell
    from slrtune.sweep.at_address import STATUS_FILES
    from slrtune.sweep.status import read_status
    from slrtune.sweep.stop import ask_to_stop

    folder = sweep_folder("SWEEP", sweep, runs_dir, *STATUS_FILES)
    seen = read_status(folder)
    if seen.state != "running":
        raise UserError(f"SWEEP: {sweep} does not run, it is {seen.state}; nothing to stop")
    say(f"Asking {folder.name} to stop; its trials end at their next report")
    if not ask_to_stop(folder, wait_s):
        raise UserError(
            f"SWEEP: {sweep} still runs after {wait_s:g} s; it stops at the end of its trials' "
            "epochs: look again with `slrtune status`"
        )
    say(f"It has stopped; go on with it: slrtune sweep --resume {in_shell(folder)}")


def _print_status(sweep: SweepStatus, folder: Path) -> None:
    from slrtune.cli.console import say
    from slrtune.report.words import duration, in_shell, params_text

    if sweep.problem:
        say(f"{sweep.name} is broken: {sweep.problem}", style="red")
        raise SystemExit(1)
    counts = ", ".join(f"{count} {state}" for state, count in sweep.counts.items())
    say(f"{sweep.name} is {sweep.state}: {sweep.num_ended} of {sweep.max_trials} trials have ended"
        + (f" ({counts})" if counts else ""), style="bold")  # fmt: skip
    if sweep.num_infeasible:
        say(f"  {sweep.num_infeasible} configurations were over the memory budget, not launched")
    for row in sweep.rows:
        if row.state in ("running", "waiting"):
            of = f" of {row.max_epochs}" if row.max_epochs else ""
            best = f", best {row.objective.text(row.best_value)}" if row.epoch else ""
            say(f"  trial {row.number} {row.state}, epoch {row.epoch}{of}{best}: "
                f"{params_text(row.params)}")  # fmt: skip
    if sweep.best is not None:
        say(f"  best {_best(sweep)} (trial {sweep.best.number}): {params_text(sweep.best.params)}")
    if sweep.time_left_s is not None:
        say(f"  about {duration(sweep.time_left_s)} left")
    say(f"  last change {_ago(sweep)}")
    if sweep.state == "stopped":
        say(f"  go on with it: slrtune sweep --resume {in_shell(folder)}", style="yellow")


def _best(sweep: SweepStatus) -> str:
    if sweep.best is None or sweep.objective is None:
        return "–"
    return f"{sweep.objective.label} {sweep.objective.text(sweep.best.best_value)}"


def _ago(sweep: SweepStatus) -> str:
    from slrtune.report.words import duration

    return "–" if sweep.last_change_s is None else f"{duration(sweep.last_change_s)} ago"
