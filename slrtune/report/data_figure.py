"""A data set as a picture: how many clips of what, how long, how large, by whom."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from slrtune.data.stats import DataStats

_COLOUR = "#3b6ea5"
_MAX_NAMED_BARS, _MIN_ROWS = 20, 5


def write_data_figure(path: Path, stats: DataStats, title: str) -> None:
    """Draw six histograms into a PNG: glosses, durations, frames, resolutions, signers, states."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 8), dpi=80, layout="constrained")
    figure.suptitle(_plain(title), fontsize=12)
    (glosses, durations, frames), (resolutions, signers, states) = figure.subplots(2, 3)
    _draw_ranked(glosses, list(stats.clips_per_gloss.values()), "gloss, by rank")
    _draw_spread(durations, stats.durations_s, "duration of a sign (s)")
    _draw_spread(frames, stats.num_frames, "frames of a sign")
    sizes = {f"{width}x{height}": n for (width, height), n in stats.resolutions.items()}
    _draw_bars(resolutions, sizes, "resolution (px)")
    _draw_bars(signers, stats.clips_per_signer, "signer")
    _draw_bars(states, {**stats.splits, **stats.statuses}, "split and status")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # a script that no font here has
        figure.savefig(path, format="png")


def _draw_ranked(axes: Any, counts: Sequence[int], label: str) -> None:
    if _is_empty(axes, counts, label):
        return
    axes.fill_between(range(1, len(counts) + 1), counts, step="mid", color=_COLOUR)
    axes.set_ylim(0)
    axes.set_ylabel("clips")


def _draw_spread(axes: Any, values: Sequence[float], label: str) -> None:
    if _is_empty(axes, values, label):
        return
    axes.hist(values, bins=min(40, max(5, len(set(values)))), color=_COLOUR)
    axes.set_ylabel("clips")


def _draw_bars(axes: Any, counts: dict[str, int], label: str) -> None:
    if _is_empty(axes, counts, label):
        return
    named = dict(list(counts.items())[:_MAX_NAMED_BARS])
    others = sum(counts.values()) - sum(named.values())
    if others:
        named[f"{len(counts) - len(named)} others"] = others
    axes.barh([_plain(name) for name in named], list(named.values()), color=_COLOUR)
    axes.set_ylim(max(len(named), _MIN_ROWS) - 0.5, -0.5)  # else one bar fills the figure
    axes.tick_params(axis="y", labelsize=8)
    axes.set_xlabel("clips")


def _is_empty(axes: Any, values: Any, label: str) -> bool:
    axes.set_title(label, fontsize=10)
    if values:
        return False
    axes.text(0.5, 0.5, "unknown", ha="center", va="center", transform=axes.transAxes)
    axes.axis("off")
    return True


def _plain(text: str) -> str:
    """Without mathtext: a signer may be called ``$x$``."""
    return text.replace("$", r"\$")
