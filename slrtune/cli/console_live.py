"""The live table of a running sweep."""

from __future__ import annotations

import time

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from slrtune.cli.console import out, say
from slrtune.config.objective import metric_label
from slrtune.report.words import duration, number, params_text, peak_memory
from slrtune.sweep.board import SweepBoard, TrialRow

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
