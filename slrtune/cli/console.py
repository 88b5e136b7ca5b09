"""What is drawn on the terminal: lines, tables, bars. With `console_live`, all that knows rich."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
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

from slrtune.report.words import duration

# A log or a pipe has no width of its own: tables keep a row on a line.
_PIPED_WIDTH = 200

out = Console(highlight=False, width=None if sys.stdout.isatty() else _PIPED_WIDTH)
_err = Console(stderr=True, highlight=False)


def leave_stdout_to_data() -> None:
    """From now on, people are talked to on the standard error stream."""
    out.file = sys.stderr


def say(text: str = "", style: str | None = None) -> None:
    """A line on the screen; paths are not broken over lines."""
    out.print(escape(text), style=style, soft_wrap=True)


def clear() -> None:
    """A screen for what is shown again and again; a log keeps what was shown before."""
    if out.is_terminal:
        out.clear()


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
