"""The live table of a running sweep; plain lines where the output is no terminal."""

from __future__ import annotations

import time
from contextlib import ExitStack

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from slrtune.cli.console import out, say
from slrtune.cluster.usage import NodeUsage, UsageWatch
from slrtune.config.objective import metric_label
from slrtune.report.words import duration, number, params_text, peak_memory, percent
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
_STATE_WORDS = {
    "running": "running",
    "waiting": "waiting",
    "completed": "completed",
    "pruned": "stopped early",
    "oom": "out of memory",
    "error": "failed",
    "interrupted": "interrupted",
}
_MAX_LIVE_ROWS, _MAX_NODES, _BAR_WIDTH = 24, 8, 30


class LiveSweep:
    """Draws the board four times a second, or says what happens line by line."""

    def __init__(self, board: SweepBoard) -> None:
        self._board = board
        self._usage = UsageWatch()
        self._open = ExitStack()
        self._is_live = out.is_terminal

    def __enter__(self) -> LiveSweep:
        if self._is_live:
            live = Live(console=out, refresh_per_second=4, get_renderable=self._draw)
            self._open.enter_context(self._usage)
            self._open.enter_context(live)
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def on_start(self, row: TrialRow) -> None:
        """A trial was given out."""
        if not self._is_live:
            say(f"trial {row.number} starts: {params_text(row.params_now)}")

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
        return Group(*drawn_sweep(self._board, self._usage.nodes))


def drawn_sweep(board: SweepBoard, nodes: tuple[NodeUsage, ...]) -> list[RenderableType]:
    """What the live table shows: how far it is, the best, trials by state, nodes, trials."""
    parts: list[RenderableType] = [_progress(board), _states(board)]
    best = board.best
    if best is not None:
        told = f"best {best.objective.label} {best.objective.text(best.best_value)}: "
        where = f"trial {best.number}, {peak_memory(best)} GiB, {params_text(best.params)}"
        parts.append(Text(told + where, style="bold green"))
    if nodes:
        parts.append(_node_table(nodes))
    return [*parts, _trial_table(board)]


def _progress(board: SweepBoard) -> Table:
    """Trials that ended, and what the running ones have done of theirs."""
    running = [row for row in board.rows.values() if row.state == "running" and row.max_epochs]
    done = board.num_ended + sum(row.epoch / row.max_epochs for row in running)
    line = Table.grid(padding=(0, 1))
    times = [f"{duration(time.monotonic() - board.started_s)} so far"]
    if board.time_left_s is not None:
        times.append(f"about {duration(board.time_left_s)} left")
    line.add_row(
        Text(board.name, style="bold"),
        ProgressBar(board.max_trials, min(done, board.max_trials), width=_BAR_WIDTH),
        Text(f"{board.num_ended}/{board.max_trials} trials · {' · '.join(times)}"),
    )
    return line


def _states(board: SweepBoard) -> Text:
    parts = []
    for state, word in _STATE_WORDS.items():
        count = sum(row.state == state for row in board.rows.values())
        if count:
            parts.append(Text(f"{count} {word}", style=_STATE_STYLE[state]))
    if board.num_infeasible:
        parts.append(Text(f"{board.num_infeasible} over the memory budget, not launched", "dim"))
    if board.activity:
        parts.append(Text(board.activity, "italic"))
    return Text(" · ").join(parts)


def _node_table(nodes: tuple[NodeUsage, ...]) -> Table:
    has_gpus = any(node.gpus for node in nodes)
    drawn = Table(box=SIMPLE_HEAD, pad_edge=False)
    drawn.add_column("node")
    for name in ("CPU", "memory GiB", *(("GPU", "GPU memory GiB") if has_gpus else ())):
        drawn.add_column(name, justify="right")
    for node in nodes[:_MAX_NODES]:
        cells = [percent(node.cpu_share), f"{node.used_gib:.1f} / {node.total_gib:.0f}"]
        if has_gpus:
            cells.append(" ".join(f"{gpu.busy_share:.0%}" for gpu in node.gpus))
            memory = [f"{gpu.used_gib:.1f}/{gpu.total_gib:.0f}" for gpu in node.gpus]
            cells.append(" ".join(memory))
        drawn.add_row(escape(node.node), *cells)
    if len(nodes) > _MAX_NODES:
        drawn.caption = f"{len(nodes) - _MAX_NODES} nodes not shown"
    return drawn


def _trial_table(board: SweepBoard) -> Table:
    drawn = Table(box=SIMPLE_HEAD, pad_edge=False)
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
