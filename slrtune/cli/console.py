"""Everything that draws on the terminal; the one module that imports rich."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from slrtune.config.objective import metric_label
from slrtune.sweep.board import SweepBoard, TrialRow

# A log or a pipe has no width of its own: tables keep a row on a line.
_PIPED_WIDTH = 200

out = Console(highlight=False, width=None if sys.stdout.isatty() else _PIPED_WIDTH)
_err = Console(stderr=True, highlight=False)

_STATE_STYLE = {
    "running": "cyan",
    "completed": "green",
    "pruned": "yellow",
    "oom": "bold magenta",
    "infeasible": "dim",
    "error": "bold red",
    "interrupted": "magenta",
    "waiting": "dim",
}
_MAX_LIVE_ROWS = 24


def say(text: str = "", style: str | None = None) -> None:
    """A line on the screen; paths are not broken over lines."""
    out.print(escape(text), style=style, soft_wrap=True)


def say_error(text: str) -> None:
    """A message about bad input."""
    _err.print(Text(text, style="red"), soft_wrap=True)


@contextmanager
def progress_bar() -> Iterator[Any]:
    """A callback ``(what, done, total)`` that shows bars, or lines where there is no terminal."""
    if not out.is_terminal:
        yield _plain_progress()
        return
    columns = (
        TextColumn("{task.description:<28}"),
        BarColumn(),
        MofNCompleteColumn(),
        _RateColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=out) as progress:
        tasks: dict[str, Any] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:  # what an earlier start has done takes no part in the rate
                tasks[what] = progress.add_task(what, total=total, completed=done)
            progress.update(tasks[what], completed=done, total=total)

        yield show


class _RateColumn(ProgressColumn):
    """How many per second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f}/s" if task.speed else "", style="progress.data.speed")


def _plain_progress() -> Any:
    first: dict[str, tuple[float, int]] = {}
    last: dict[str, float] = {}

    def show(what: str, done: int, total: int) -> None:
        now_s = time.monotonic()
        started_s, done_before = first.setdefault(what, (now_s, done))
        if done == total or now_s - last.get(what, 0.0) > 10:
            last[what] = now_s
            speed = (done - done_before) / max(now_s - started_s, 1e-9)
            left = f", {duration((total - done) / speed)} left" if speed and done < total else ""
            say(f"{what}: {done}/{total}" + (f" ({speed:.1f}/s{left})" if speed else ""))

    return show


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table whose first column is left and whose others are right aligned where numeric."""
    drawn = Table(title=title, title_justify="left", box=SIMPLE_HEAD, title_style="bold")
    for index, column in enumerate(columns):
        numeric = all(_looks_numeric(row[index]) for row in rows) and bool(rows)
        is_last = index == len(columns) - 1
        drawn.add_column(
            column,
            justify="right" if numeric else "left",
            overflow="fold",
            no_wrap=not is_last,
            min_width=20 if is_last else None,
        )
    for row in rows:
        drawn.add_row(*(escape(cell) for cell in row))
    out.print(drawn)


def _looks_numeric(cell: str) -> bool:
    return cell in ("", "–") or cell[0].isdigit()


class LiveSweep:
    """The live table of a running sweep; plain lines where the output is no terminal."""

    def __init__(self, board: SweepBoard) -> None:
        self._board = board
        self._live = Live(console=out, refresh_per_second=4, get_renderable=self._draw)
        self._is_live = out.is_terminal

    def __enter__(self) -> LiveSweep:
        if self._is_live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_live:
            self._live.stop()

    def on_start(self, row: TrialRow) -> None:
        """A trial was given out."""
        if not self._is_live:
            say(f"trial {row.number} starts: {params_text(row.params)}")

    def on_epoch(self, row: TrialRow) -> None:
        """A trial reported an epoch."""

    def on_end(self, row: TrialRow) -> None:
        """A trial ended."""
        if not self._is_live:
            say(f"trial {row.number} {row.state}{_ending(row)}")

    def on_infeasible(self, row: TrialRow) -> None:
        """A configuration is predicted over the memory budget."""
        needed = f"predicted at {number(row.metrics['predicted_need_gib'])} GiB"
        over = f"{needed}, over the budget of {self._board.budget_gib:g} GiB: not launched"
        if "point" in row.metrics:
            say(f"point {row.metrics['point']} ({params_text(row.params)}) is {over}", "yellow")
        elif not self._is_live:
            say(f"configuration {row.number} is {over}: {params_text(row.params)}")

    def on_tick(self, board: SweepBoard) -> None:
        """The table redraws itself four times a second."""

    def on_interrupt(self) -> None:
        """Stopping takes some seconds: say that it was heard."""
        say("Interrupted: stopping the trials; Ctrl-C again ends at once", style="yellow")

    def _draw(self) -> Group:
        return Group(_headline(self._board), _trial_table(self._board))


def _headline(board: SweepBoard) -> Text:
    best = board.best
    parts = [
        f"{board.name}: {board.num_ended}/{board.max_trials} trials",
        f"{board.count('running')} running",
        f"{board.count('pruned')} stopped early",
    ]
    if board.count("oom"):
        parts.append(f"{board.count('oom')} out of memory")
    if board.num_infeasible:
        parts.append(f"{board.num_infeasible} over the memory budget, not launched")
    if board.count("error"):
        parts.append(f"{board.count('error')} failed")
    parts.append(f"{duration(time.monotonic() - board.started_s)} so far")
    if board.time_left_s is not None:
        parts.append(f"about {duration(board.time_left_s)} left")
    if best is not None:
        parts.append(f"best {best.objective.text(best.best_value)} (trial {best.number})")
    if board.activity:
        parts.append(board.activity)
    return Text(" · ".join(parts), style="bold")


def _trial_table(board: SweepBoard) -> Table:
    drawn = Table(box=SIMPLE_HEAD)
    for name in ("trial", "state"):
        drawn.add_column(name)
    objective = board.objective
    for name in ("epoch", metric_label(objective.metric), "best", "peak GiB", "time left"):
        drawn.add_column(name, justify="right")
    drawn.add_column("parameters", overflow="fold")
    rows = sorted(board.rows.values(), key=lambda row: (row.state != "running", -row.number))
    for row in sorted(rows[:_MAX_LIVE_ROWS], key=lambda row: row.number):
        metrics = row.metrics
        left_s = row.time_left_s
        drawn.add_row(
            str(row.number),
            Text(row.state, style=_STATE_STYLE[row.state]),
            f"{row.epoch}/{row.max_epochs}" if row.max_epochs else "–",
            objective.text(metrics.get(objective.metric)),
            objective.text(row.best_value),
            peak_memory(row),
            duration(left_s) if left_s is not None else "",
            escape(params_text(row.params)),
        )
    if len(rows) > _MAX_LIVE_ROWS:
        drawn.caption = f"{len(rows) - _MAX_LIVE_ROWS} ended trials not shown"
    return drawn


def _ending(row: TrialRow) -> str:
    if "error" in row.metrics:
        return f": {row.metrics['error']}"
    if row.best_value is not None:
        best = row.objective.text(row.best_value)
        return f" after epoch {row.epoch}: best {row.objective.label} {best}"
    return ""


def params_text(params: dict[str, Any]) -> str:
    """``depth=2 lr=0.0012``: keys without their sections, numbers in three digits."""
    parts = []
    for key, value in params.items():
        short = f"{value:.3g}" if isinstance(value, float) else str(value)
        parts.append(f"{key.rsplit('.', 1)[-1]}={short}")
    return " ".join(parts)


def peak_memory(row: TrialRow, digits: int = 2) -> str:
    """``1.25``; ``≥ 1.25`` where memory ran out there; a dash where nothing was measured."""
    peak_gib = row.metrics.get("peak_memory_gib")
    bound = "≥ " if row.state == "oom" and peak_gib is not None else ""
    return bound + number(peak_gib, digits)


def percent(share: float | None) -> str:
    """``61.5%``, or a dash."""
    return "–" if share is None else f"{share:.1%}"


def number(value: float | None, digits: int = 2) -> str:
    """``1.25``, or a dash."""
    return "–" if value is None else f"{value:.{digits}f}"


def duration(seconds: float) -> str:
    """``45s``, ``3m05s`` or ``2h10m``."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
