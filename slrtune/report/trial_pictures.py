"""What a trial left of its validation, as pictures: confusions, and clips with what was said."""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from slrtune.training.exhibit import EXHIBIT_FILE

_CLIP_HEIGHT_IN, _FRAME_WIDTH_IN = 1.0, 1.0
_LINE_LENGTH, _MAX_LINES = 24, 2


def trial_pictures(folder: Path) -> dict[str, bytes]:
    """Tag -> PNG of a trial's folder; empty where it left nothing to look at."""
    file = folder / EXHIBIT_FILE
    if not file.exists():
        return {}
    with np.load(file) as shown:
        exhibit = {name: shown[name] for name in shown.files}
    pictures = {}
    if "counts" in exhibit and exhibit["counts"].any():
        pictures["validation/confusions"] = _confusions(exhibit)
    if len(exhibit["frames"]):
        pictures["validation/clips"] = _clips(exhibit)
    return pictures


def _confusions(exhibit: Mapping[str, Any]) -> bytes:
    from slrtune.deploy.confusion_figure import draw_confusion_matrix

    counts = exhibit["counts"]
    without_prediction = np.zeros((len(counts), 1), dtype=counts.dtype)
    picture = BytesIO()
    draw_confusion_matrix(
        picture,
        np.concatenate([counts, without_prediction], axis=1),
        [str(gloss) for gloss in exhibit["glosses"]],
        "Validation at the best epoch",
    )
    return picture.getvalue()


def _clips(exhibit: Mapping[str, Any]) -> bytes:
    """A row per clip: some of its frames, what it means, and what the model said."""
    from matplotlib.figure import Figure

    frames = exhibit["frames"]
    num_clips, num_frames = frames.shape[:2]
    size = (num_frames * _FRAME_WIDTH_IN + 2.2, num_clips * _CLIP_HEIGHT_IN)
    figure = Figure(figsize=size, dpi=80)
    for row in range(num_clips):
        meant, said = str(exhibit["meant"][row]), str(exhibit["said"][row])
        probability = exhibit["probabilities"][row]
        axes = figure.add_axes((0, 1 - (row + 1) / num_clips, num_frames / size[0], 1 / num_clips))
        axes.imshow(np.concatenate(list(frames[row]), axis=1))
        axes.axis("off")
        figure.text(
            (num_frames + 0.1) / size[0],
            1 - (row + 0.5) / num_clips,
            _wrapped(f"true: {meant}", f"said: {said}  {probability:.0%}").replace("$", r"\$"),
            color="darkgreen" if meant == said else "firebrick",
            va="center",
            fontsize=11,
        )
    picture = BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # a script that no font here has
        figure.savefig(picture, format="png")
    return picture.getvalue()


def _wrapped(*texts: str) -> str:
    """Each text in a few lines of what fits beside the frames."""
    lines = [
        line
        for text in texts
        for line in textwrap.wrap(text, _LINE_LENGTH, max_lines=_MAX_LINES, placeholder="…")
    ]
    return "\n".join(lines)
