"""What a finished sweep or training run shows: leaderboard, best trial, what to do next."""

from __future__ import annotations

import shlex
import time

from slrtune.cli.console import say, table
from slrtune.config.addresses import address_of
from slrtune.report.tables import TableOfText, front_table, leaderboard, models_table, sizes_table
from slrtune.report.words import duration, in_shell, params_text, peak_memory, percent, short
from slrtune.sweep.board import SweepBoard, TrialRow
from slrtune.sweep.results import BEST_SCHEDULE_FILE, SweepResults, best_lineage


def print_sweep(results: SweepResults, board: SweepBoard | None = None, top: int = 20) -> None:
    """Leaderboard, what fits which GPU, what was counted, and where the best one is."""
    print_leaderboard(results, top)
    print_memory_tables(results)
    print_counts(results, board)
    best = results.best
    if best is None:
        within = " within the memory budget" if results.budget_gib is not None else ""
        say(f"No trial reported an accuracy{within}: see sweep.log in the sweep's folder", "red")
        return
    say(
        f"Best: trial {best.number}, {best.objective.label} {best.objective.text(best.best_value)}"
        f"{_coverage(best)}, "
        f"peak memory {peak_memory(best, 3)} GiB, {params_text(best.params)}",
        style="bold green",
    )
    folder = results.folder
    files = [("configuration", "best.yaml")]
    if address_of(folder) is None:
        files.append(("checkpoint", "best.pt"))
    for what, file in files:
        if (folder / file).exists():
            say(f"  {what:<18}{short(folder / file)}")
    legs = best_lineage(results)
    again = f"slrtune train {shlex.quote(short(folder / 'best.yaml'))}"
    if len(legs) > 1:
        say(f"  how it came about {short(folder / BEST_SCHEDULE_FILE)}: weights of "
            f"{len({leg.trial for leg in legs})} trials, settings that changed "
            f"{len(legs) - 1} time(s)")  # fmt: skip
        say(f"  train anew        {again} (its last settings only: another result)")
    else:
        say(f"  train it again    {again}")
    say(f"  compare trials    slrtune tensorboard {in_shell(folder)}")
    say(f"  all on one page   slrtune report {in_shell(folder)}")
    if address_of(folder) is not None:
        say(f"  test it           slrtune evaluate {in_shell(folder)}")


def _coverage(row: TrialRow) -> str:
    """An accuracy on half of the clips is no accuracy on all of them."""
    share = row.metrics.get("val_coverage")
    return f" (on {percent(share)} of the listed clips)" if share is not None else ""


def print_counts(results: SweepResults, board: SweepBoard | None = None) -> None:
    """How the trials ended, and why some never began."""
    rows = results.launched
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.state] = counts.get(row.state, 0) + 1
    spent = f" in {duration(time.monotonic() - board.started_s)}" if board else ""
    say(f"{len(rows)} trials{spent}: "
        + ", ".join(f"{count} {state}" for state, count in sorted(counts.items())))  # fmt: skip
    num_infeasible = len(results.rows) - len(rows)
    if num_infeasible:
        are = "configuration was" if num_infeasible == 1 else "configurations were"
        say(
            f"{num_infeasible} {are} predicted over the budget of {results.budget_gib:g} GiB and "
            "not launched"
        )
    if results.num_warm:
        say(f"The sampler started from {results.num_warm} trials of an earlier sweep")
    if board is not None and board.is_exhausted:
        say(
            f"The search ended early: {results.base.sweep.max_draws_per_trial} configurations in a "
            "row were over the budget; raise it, or give the space smaller configurations",
            style="yellow",
        )
    if board is not None and board.is_tried_out:
        say("Every configuration of the grid was tried")
    if board is not None and board.is_out_of_hours:
        say(
            "The sweep ended before all its trials: another one was not expected to keep to "
            f"{results.base.sweep.max_gpu_hours:g} GPU-hours",
            style="yellow",
        )
    for row in rows:
        if num_restarts := row.metrics.get("num_restarts"):
            times = "once" if num_restarts == 1 else f"{num_restarts} times"
            say(f"  trial {row.number} went on from its checkpoint {times}: "
                f"{row.metrics['restart_reason']}", "yellow")  # fmt: skip
        error = row.metrics.get("error", "unknown")
        if row.state == "oom":
            at = f"at {peak_memory(row)} GiB " if "peak_memory_gib" in row.metrics else ""
            say(f"  trial {row.number} ran out of memory {at}({error})", "magenta")
        elif row.state == "error":
            where = results.trial_folder(row) / "error.txt"
            more = f" ({where})" if where.exists() else ""
            say(f"  trial {row.number} failed: {error}{more}", "red")


def print_memory_tables(results: SweepResults) -> None:
    """The best of each model and for each GPU size, and the front where it was searched."""
    if results.best is None:
        return
    _print(models_table(results))
    _print(sizes_table(results))
    if results.base.sweep.objective == "pareto":
        _print(front_table(results))


def print_leaderboard(results: SweepResults, top: int) -> None:
    """The ``top`` trials, best first."""
    _print(leaderboard(results, top))
    num_more = len(results.launched) - top
    if num_more > 0:
        say(f"  … and {num_more} more; --top shows them")


def _print(shown: TableOfText) -> None:
    table(shown.title, shown.columns, shown.rows)
