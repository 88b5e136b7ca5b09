"""Predicted memory as a picture: green fits the budget, red does not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from slrtune.sweep.memory_map import MemoryMap

_CELL_INCHES = 0.78
_DARK = 1.5  # from this multiple of the budget on, the red asks for white letters


def write_memory_figure(
    path: Path, maps: Sequence[MemoryMap], budget_gib: float | None, title: str
) -> None:
    """Draw one row of heat maps for each model family, one heat map for each depth.

    Args:
        path: PNG to write.
        budget_gib: cells over it are red and struck through; None = no budget, shades only.
    """
    from matplotlib.figure import Figure

    num_columns = max(len(memory_map.depths) for memory_map in maps)
    width = 1.6 + num_columns * (len(maps[0].micro_batches) * _CELL_INCHES + 0.5)
    height = 1.0 + sum(len(m.chunks) * 0.5 + 1.3 for m in maps)
    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    figure.suptitle(title, fontsize=11)
    heights = [len(m.chunks) * 0.5 + 1.3 for m in maps]
    grid = figure.subplots(
        len(maps), num_columns, squeeze=False, gridspec_kw={"height_ratios": heights}
    )
    for row, memory_map in zip(grid, maps, strict=True):
        for column, axes in enumerate(row):
            if column >= len(memory_map.depths):
                axes.axis("off")
                continue
            _draw(axes, memory_map, column, budget_gib)
    figure.savefig(path)


def _draw(axes: Any, memory_map: MemoryMap, column: int, budget_gib: float | None) -> None:
    cells = memory_map.peak_gib[column]
    known = [value for line in cells for value in line if value is not None]
    top = 2 * budget_gib if budget_gib else max(known, default=1.0)
    shades = [[float("nan") if value is None else min(value, top) for value in line]
              for line in cells]  # fmt: skip
    colours = "RdYlGn_r" if budget_gib else "YlGnBu"
    axes.imshow(shades, cmap=colours, vmin=0.0, vmax=top, aspect="auto", alpha=0.85)
    for y, line in enumerate(cells):
        for x, value in enumerate(line):
            times_budget = value / budget_gib if value is not None and budget_gib else 0.0
            is_over = times_budget > 1.0
            text = "–" if value is None else f"{value:.3g}"
            axes.text(
                x, y, f"{text} ✗" if is_over else text, ha="center", va="center", fontsize=8.5,
                fontweight="bold" if is_over else "normal",
                color="white" if times_budget > _DARK else "black",
            )  # fmt: skip
    axes.set_xticks(range(len(memory_map.micro_batches)), memory_map.micro_batches)
    labels = ["all" if chunk is None else str(chunk) for chunk in memory_map.chunks]
    axes.set_yticks(range(len(labels)), labels)
    axes.set_title(f"{memory_map.family}, depth {memory_map.depths[column]}", fontsize=9.5)
    axes.set_xlabel("micro-batch (clips)", fontsize=8.5)
    if column == 0:
        axes.set_ylabel(memory_map.chunk_key.rpartition(".")[2], fontsize=8.5)
