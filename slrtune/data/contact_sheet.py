"""One PNG that shows many clips: each cell a few frames side by side over the clip's label."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from slrtune.config.errors import UserError

_FONT_FILE = "DejaVuSans.ttf"
_PAPER, _INK = (250, 250, 248), (40, 40, 44)
_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def write_contact_sheet(
    path: Path,
    cells: Sequence[tuple[str, np.ndarray]],
    columns: int = 6,
    cell_px: int = 128,
    frames_per_cell: int = 3,
) -> None:
    """Write a PNG with one cell per (label, frames).

    Args:
        path: the PNG; its folder is made if missing.
        cells: label and frames (T, H, W, 3) uint8, T >= 1, of any size, in reading order.
        columns: cells per row.
        cell_px: side of the square in which a frame is fitted, its proportions kept.
        frames_per_cell: frames shown of a clip, evenly spread; fewer where the clip has fewer.
    Raises:
        UserError: there is no cell, or a clip has no frame.
    """
    if not cells:
        raise UserError(f"{path}: a contact sheet needs at least one clip, but there is none")
    for label, frames in cells:
        if len(frames) == 0:
            raise UserError(f"{path}: the clip {label!r} has no frame; leave it out of the sheet")

    tiles = min(frames_per_cell, max(len(frames) for _, frames in cells))
    columns = min(columns, len(cells))
    rows = -(-len(cells) // columns)
    gap_px = max(4, cell_px // 12)
    font = _load_font(max(10, cell_px // 9))
    text_px = max(14, cell_px // 6)
    width_px, height_px = tiles * cell_px, cell_px + text_px
    sheet = Image.new(
        "RGB",
        (columns * (width_px + gap_px) + gap_px, rows * (height_px + gap_px) + gap_px),
        _PAPER,
    )
    draw = ImageDraw.Draw(sheet)
    for number, (label, frames) in enumerate(cells):
        row, column = divmod(number, columns)
        left = gap_px + column * (width_px + gap_px)
        top = gap_px + row * (height_px + gap_px)
        for tile, frame in enumerate(spread_frames(frames, tiles)):
            picture = _fit(frame, cell_px)
            x = left + tile * cell_px + (cell_px - picture.width) // 2
            sheet.paste(picture, (x, top + (cell_px - picture.height) // 2))
        centre = (left + width_px / 2, top + cell_px + text_px / 2)
        draw.text(centre, _shorten(label, font, width_px), fill=_INK, font=font, anchor="mm")
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, format="PNG")


def spread_frames(frames: np.ndarray, count: int) -> np.ndarray:
    """The middle frames of ``count`` equal parts of a clip; all frames if it has fewer."""
    count = min(count, len(frames))
    middles = ((np.arange(count) + 0.5) * len(frames) / count).astype(int)
    return frames[middles]


def _fit(frame: np.ndarray, side_px: int) -> Image.Image:
    height, width = frame.shape[:2]
    scale = side_px / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return Image.fromarray(frame).resize(size, Image.Resampling.LANCZOS)


def _load_font(size_px: int) -> _Font:
    try:
        return ImageFont.truetype(_FONT_FILE, size_px)
    except OSError:  # not installed: Pillow brings a small font of its own
        return ImageFont.load_default(size_px)


def _shorten(label: str, font: _Font, width_px: int) -> str:
    """The label on one line, cut with an ellipsis where it is wider than its cell."""
    label = " ".join(label.split())
    if font.getlength(label) <= width_px:
        return label
    while label and font.getlength(label + "…") > width_px:
        label = label[:-1]
    return label + "…"
