"""What a finished sweep or training run shows: leaderboard, best trial, what to do next."""

from __future__ import annotations

import time
from pathlib import Path

from slrtune.cli.console import duration, number, params_text, percent, say, table
from slrtune.sweep.board import SweepBoard
from slrtune.sweep.results import SweepResults
from slrtune.sweep.tensorboard import TENSORBOARD_FOLDER

_COLUMNS = (
    "rank", "trial", "outcome", "epochs", "best val top-1", "top-5", "peak GiB", "clips/s",
    "train time", "parameters",
)  # fmt: skip


def print_sweep(results: SweepResults, board: SweepBoard | None = None, top: int = 20) -> None:
    """Leaderboard, what was counted, and where the best configuration and checkpoint are."""
    print_leaderboard(results, top)
    counts: dict[str, int] = {}
    for row in results.rows:
        counts[row.state] = counts.get(row.state, 0) + 1
    spent = f" in {duration(time.monotonic() - board.started_s)}" if board else ""
    say(f"{len(results.rows)} trials{spent}: "
        + ", ".join(f"{count} {state}" for state, count in sorted(counts.items())))  # fmt: skip
    for row in results.rows:
        if row.state == "error":
            where = results.trial_folder(row) / "error.txt"
            more = f" ({where})" if where.exists() else ""
            say(f"  trial {row.number} failed: {row.metrics.get('error', 'unknown')}{more}", "red")
    best = results.best
    if best is None:
        say("No trial reported an accuracy: see sweep.log in the sweep's folder", style="red")
        return
    peak = number(best.metrics.get("peak_memory_gib"), 3)
    say(
        f"Best: trial {best.number}, validation top-1 {percent(best.metrics['best_val_top1'])}, "
        f"peak memory {peak} GiB, {params_text(best.params)}",
        style="bold green",
    )
    folder = results.folder
    for what, file in (("configuration", "best.yaml"), ("checkpoint", "best.pt")):
        if (folder / file).exists():
            say(f"  {what:<18}{_short(folder / file)}")
    say(f"  train it again    slrtune train {_short(folder / 'best.yaml')}")
    say(f"  compare trials    tensorboard --logdir {_short(folder / TENSORBOARD_FOLDER)}")


def print_leaderboard(results: SweepResults, top: int) -> None:
    """The ``top`` trials, best first."""
    rows = []
    for rank, row in enumerate(results.rows[:top], 1):
        metrics = row.metrics
        rows.append(
            (
                str(rank),
                str(row.number),
                row.state,
                str(row.epoch),
                percent(metrics.get("best_val_top1")),
                percent(metrics.get("best_val_top5")),
                number(metrics.get("peak_memory_gib"), 3),
                number(metrics.get("clips_per_s"), 1),
                duration(metrics.get("total_s", 0.0)),
                params_text(row.params),
            )
        )
    table(f"Leaderboard of {results.folder.name}", _COLUMNS, rows)
    if len(results.rows) > top:
        say(f"  … and {len(results.rows) - top} more; --top shows them")


def _short(path: Path) -> str:
    """Relative to the current folder where that is shorter."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
