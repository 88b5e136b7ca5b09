"""The confusion matrix as a picture."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from matplotlib import font_manager, rc_context
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

_MAX_LABELS = 60
_MAX_WITH_NUMBERS = 30
_MAX_CELLS = 300  # with more a cell is too small to see: dots instead
_DOT_PT = 2.5
_DPI = 100
_CELL_IN, _MIN_PLOT_IN, _MAX_PLOT_IN = 0.34, 4.0, 16.0
_MARGIN_IN = 3.0
_MAX_LABEL_LENGTH = 24
_DARK_SHARE = 0.35  # from here on white numbers read better
# DejaVu comes with matplotlib and knows Latin, Greek, Cyrillic and Arabic script.
_FONTS = ("DejaVu Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans Devanagari")


def draw_confusion_matrix(
    path: Path | IO[bytes], counts: np.ndarray, glosses: Sequence[str], title: str
) -> None:
    """Write a PNG: a row per true gloss, a column per predicted one, shares of the row as colour.

    Glosses that are neither true nor predicted anywhere are left out. Up to 30 glosses get
    numbers, beyond 60 not every one gets its name, and beyond 300 cells are drawn as dots that
    are large enough to see.

    Args:
        counts: int (G, G + 1); the last column is for clips without a prediction.
        glosses: G names.
    """
    shown, columns = _shown(counts)
    cells = counts[np.ix_(shown, columns)]
    shares = cells / np.maximum(cells.sum(axis=1, keepdims=True), 1)
    names = [*(_shorten(gloss) for gloss in glosses), "(no prediction)"]
    size_in = _plot_size_in(len(columns))
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it may have no folder for its cache
    with rc_context({"font.family": _installed_fonts()}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # a script that no font here has
        figure = Figure(figsize=(size_in + _MARGIN_IN, size_in + _MARGIN_IN), dpi=_DPI)
        axes = figure.subplots()
        picture = _draw_cells(axes, shares)
        _name(axes.set_yticks, [names[label] for label in shown], size_in)
        _name(axes.set_xticks, [names[label] for label in columns], size_in, rotation=90)
        axes.set_xlabel("predicted gloss")
        axes.set_ylabel("true gloss")
        axes.set_title(title, fontsize=12, pad=12)
        if len(shown) <= _MAX_WITH_NUMBERS:
            _write_numbers(axes, cells, shares)
        colours = figure.colorbar(
            picture, ax=axes, shrink=0.6, aspect=30, pad=0.02, ticks=(0.0, 0.05, 0.25, 0.5, 1.0)
        )
        colours.ax.set_yticklabels(["0 %", "5 %", "25 %", "50 %", "100 %"])
        colours.set_label("share of the true gloss's clips")
        figure.savefig(path, format="png", bbox_inches="tight")


def _shown(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns to draw."""
    size = len(counts)
    is_seen = (counts.sum(axis=1) > 0) | (counts[:, :size].sum(axis=0) > 0)
    rows = np.flatnonzero(is_seen)
    return rows, np.append(rows, size) if counts[:, size].any() else rows


def _plot_size_in(num_cells: int) -> float:
    return min(max(num_cells * _CELL_IN, _MIN_PLOT_IN), _MAX_PLOT_IN)


def _draw_cells(axes: Axes, shares: np.ndarray) -> ScalarMappable:
    colours: dict[str, Any] = {"cmap": "Blues", "norm": PowerNorm(0.5, 0.0, 1.0)}
    num_rows, num_columns = shares.shape
    if num_columns <= _MAX_CELLS:
        return axes.imshow(shares, interpolation="nearest", **colours)
    rows, columns = shares.nonzero()
    order = shares[rows, columns].argsort(kind="stable")  # the large ones on top
    rows, columns = rows[order], columns[order]
    axes.set(xlim=(-0.5, num_columns - 0.5), ylim=(num_rows - 0.5, -0.5), aspect="equal")
    return axes.scatter(
        columns, rows, c=shares[rows, columns], s=_DOT_PT**2, marker="s", linewidths=0, **colours
    )


def _name(
    set_ticks: Callable[..., object], names: Sequence[str], size_in: float, rotation: int = 0
) -> None:
    step = -(-len(names) // _MAX_LABELS)
    num_shown = len(names) / step
    size_pt = min(10.0, 0.6 * 72 * size_in / num_shown)
    set_ticks(range(0, len(names), step), names[::step], fontsize=size_pt, rotation=rotation)


def _write_numbers(axes: Axes, cells: np.ndarray, shares: np.ndarray) -> None:
    for row, column in zip(*cells.nonzero(), strict=True):
        colour = "white" if shares[row, column] > _DARK_SHARE else "black"
        axes.text(
            column, row, str(cells[row, column]), ha="center", va="center", color=colour, fontsize=8
        )


def _installed_fonts() -> list[str]:
    installed = set(font_manager.get_font_names())
    return [name for name in _FONTS if name in installed]


def _shorten(gloss: str) -> str:
    short = gloss if len(gloss) <= _MAX_LABEL_LENGTH else gloss[: _MAX_LABEL_LENGTH - 1] + "…"
    return short.replace("$", r"\$")  # else matplotlib reads a formula
