"""What the live table of a sweep shows."""

from __future__ import annotations

import io

from rich.console import Console

from slrtune.cli.console_live import drawn_sweep
from slrtune.cluster.usage import GpuUsage, NodeUsage
from slrtune.config.objective import OBJECTIVES
from slrtune.sweep.board import SweepBoard


def test_the_live_table_shows_progress_best_states_nodes_and_hostile_text_as_it_is() -> None:
    board = SweepBoard("letters", 4, 2, OBJECTIVES["wer"], budget_gib=6.0, num_infeasible=3)
    for number, state in enumerate(("completed", "oom", "running")):
        row = board.row(number, {"model.cnn_transformer.backbone": "[red]net"})
        row.state = state  # type: ignore[assignment]
        row.metrics = {"epoch": 2, "max_epochs": 4, "total_s": 10.0, "val_wer": 0.5,
                       "best_val_wer": 0.4 + number / 10, "peak_memory_gib": 1.5}  # fmt: skip
    nodes = (
        NodeUsage("head", 0.25, 10.0, 24.0),
        NodeUsage("worker", 0.5, 3.0, 64.0, (GpuUsage("T4", 8.0, 15.0, 0.9),) * 2),
    )
    console = Console(record=True, width=160, file=io.StringIO())
    for part in drawn_sweep(board, nodes):
        console.print(part)
    shown = console.export_text()
    assert "2/4 trials" in shown and "left" in shown
    assert "best validation WER 40.0%: trial 0" in shown
    assert "1 running · 1 completed · 1 out of memory · 3 over the memory budget" in shown
    assert "8.0/15 8.0/15" in shown and "90% 90%" in shown
    assert "10.0 / 24" in shown and "backbone=[red]net" in shown
    assert "≥ 1.50" in shown  # memory ran out there
