"""What a finished sweep or training run shows: leaderboard, best trial, what to do next."""

from __future__ import annotations

import time
from pathlib import Path

from slrtune.cli.console import (
    duration,
    number,
    params_text,
    peak_memory,
    percent,
    say,
    table,
)  # fmt: skip
from slrtune.config.objective import metric_label, metric_text
from slrtune.sweep.board import SweepBoard, TrialRow, is_ranked
from slrtune.sweep.front import best_of_models, best_within, pareto_front
from slrtune.sweep.results import SweepResults

_COLUMNS = ("peak GiB", "clips/s", "data wait", "train time", "parameters")


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
    for what, file in (("configuration", "best.yaml"), ("checkpoint", "best.pt")):
        if (folder / file).exists():
            say(f"  {what:<18}{_short(folder / file)}")
    say(f"  train it again    slrtune train {_short(folder / 'best.yaml')}")
    say(f"  compare trials    slrtune tensorboard {_short(folder)}")


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
    if board is not None and board.is_out_of_hours:
        say(
            "The sweep ended before all its trials: another one was not expected to keep to "
            f"{results.base.sweep.max_gpu_hours:g} GPU-hours",
            style="yellow",
        )
    for row in rows:
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
    rows = [
        (name, row.objective.text(row.best_value), *_memory_cells(row), str(row.number))
        for name, row in best_of_models(results).items()
    ]
    if not rows:
        return
    best_name = f"best {results.base.objective.label}"
    columns = ("model", best_name, "train GiB", "inference GiB", "time", "trial")
    table("Best of each model (measured)", columns, rows)
    by_size = best_within(results.rows)
    sizes = [
        (f"{size_gib} GiB", *_front_cells(row)) if row else (f"{size_gib} GiB", *["–"] * 4)
        for size_gib, row in by_size.items()
    ]
    sized = (best_name, "peak GiB", "trial", "parameters")
    table("Best for each GPU size (by measured training peak)", ("GPU", *sized), sizes)
    if results.base.sweep.objective == "pareto":
        front = [_front_cells(row) for row in pareto_front(results.rows)]
        table(f"Pareto front: {results.base.objective.label} against training memory", sized, front)


def _front_cells(row: TrialRow) -> tuple[str, ...]:
    return (
        row.objective.text(row.best_value),
        peak_memory(row, 3),
        str(row.number),
        params_text(row.params),
    )


def _memory_cells(row: TrialRow) -> tuple[str, ...]:
    inference = number(row.metrics.get("inference_memory_gib"), 3)
    return peak_memory(row, 3), inference, duration(row.metrics.get("total_s", 0.0))


def print_leaderboard(results: SweepResults, top: int) -> None:
    """The ``top`` trials, best first."""
    rows = []
    launched, objective = results.launched, results.base.objective
    for rank, row in enumerate(launched[:top], 1):
        metrics = row.metrics
        rows.append(
            (
                str(rank) if is_ranked(row) else "–",
                str(row.number),
                row.state,
                str(row.epoch),
                objective.text(row.best_value),
                metric_text(objective.companion, metrics.get(objective.best_companion)),
                peak_memory(row, 3),
                number(metrics.get("clips_per_s"), 1),
                percent(metrics.get("data_wait_share")),
                duration(metrics.get("total_s", 0.0)),
                params_text(row.params),
            )
        )
    judged = (f"best {objective.label}", metric_label(objective.companion))
    columns = ("rank", "trial", "outcome", "epochs", *judged, *_COLUMNS)
    table(f"Leaderboard of {results.folder.name}", columns, rows)
    if len(launched) > top:
        say(f"  … and {len(launched) - top} more; --top shows them")


def _short(path: Path) -> str:
    """Relative to the current folder where that is shorter."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
