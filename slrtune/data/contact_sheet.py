"""One PNG that shows many clips: each cell a few frames side by side over the clip's label.

Under the frames a line stands for the whole file: grey its frames, blue those of the sign, a tick
for each frame that the model samples, a long one for each frame that is shown. The signer's box is
drawn into the frames, whose numbers stand in their corner.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from slrtune.config.errors import UserError
from slrtune.data.manifest import Box

_FONT_FILE = "DejaVuSans.ttf"
_PAPER, _INK = (250, 250, 248), (40, 40, 44)
_FILE, _SIGN, _BOX = (205, 205, 205), (80, 140, 200), (250, 190, 40)
_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True)
class Cell:
    """A clip to show.

    Attributes:
        frames: those that are shown, (T, H, W, 3) uint8, T >= 1, of any size.
        box: of the signer, in pixels of ``frames``; None = not drawn.
        num_frames: of the whole file; 0 = no line is drawn.
        window: frames [first, last) of the sign.
        sampled: frame numbers that the model sees.
        shown: frame numbers of ``frames``.
    """

    label: str
    frames: np.ndarray
    box: Box | None = None
    num_frames: int = 0
    window: tuple[int, int] = (0, 0)
    sampled: tuple[int, ...] = ()
    shown: tuple[int, ...] = ()


def write_contact_sheet(
    path: Path, cells: Sequence[Cell], columns: int = 6, cell_px: int = 128
) -> None:
    """Write a PNG with the cells in reading order.

    Args:
        path: the PNG; its folder is made if missing.
        columns: cells per row.
        cell_px: side of the square in which a frame is fitted, its proportions kept.

    Raises:
        UserError: there is no cell, or a clip has no frame.
    """
    if not cells:
        raise UserError(f"{path}: a contact sheet needs at least one clip, but there is none")
    for cell in cells:
        if len(cell.frames) == 0:
            raise UserError(f"{path}: the clip {cell.label!r} has no frame; leave it out")
    tiles = max(len(cell.frames) for cell in cells)
    columns = min(columns, len(cells))
    rows = -(-len(cells) // columns)
    gap_px = max(4, cell_px // 12)
    line_px, text_px = max(6, cell_px // 12), max(14, cell_px // 6)
    width_px, height_px = tiles * cell_px, cell_px + line_px + text_px
    size = (columns * (width_px + gap_px) + gap_px, rows * (height_px + gap_px) + gap_px)
    sheet = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(sheet)
    font = _load_font(max(10, cell_px // 9))
    for number, cell in enumerate(cells):
        row, column = divmod(number, columns)
        left = gap_px + column * (width_px + gap_px)
        top = gap_px + row * (height_px + gap_px)
        for tile, frame in enumerate(cell.frames):
            picture = _fit(frame, cell_px, cell.box, cell.shown[tile : tile + 1])
            x = left + tile * cell_px + (cell_px - picture.width) // 2
            sheet.paste(picture, (x, top + (cell_px - picture.height) // 2))
        if cell.num_frames:
            _draw_line(draw, cell, left, top + cell_px + 1, width_px, line_px - 2)
        centre = (left + width_px / 2, top + cell_px + line_px + text_px / 2)
        draw.text(centre, _shorten(cell.label, font, width_px), fill=_INK, font=font, anchor="mm")
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, format="PNG")


def _draw_line(
    draw: ImageDraw.ImageDraw, cell: Cell, left: int, top: int, width_px: int, height_px: int
) -> None:
    def x(frame: float) -> int:
        return left + round(frame * (width_px - 1) / cell.num_frames)

    middle = top + height_px // 2
    draw.line((x(0), middle, x(cell.num_frames), middle), fill=_FILE, width=2)
    draw.line((x(cell.window[0]), middle, x(cell.window[1]), middle), fill=_SIGN, width=2)
    for frame in cell.sampled:
        reach = height_px // 2 if frame in cell.shown else height_px // 4
        place = x(frame + 0.5)
        draw.line((place, middle - reach, place, middle + reach), fill=_INK, width=1)


def _fit(frame: np.ndarray, side_px: int, box: Box | None, number: Sequence[int]) -> Image.Image:
    height, width = frame.shape[:2]
    scale = side_px / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    picture = Image.fromarray(frame).resize(size, Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(picture)
    if box is not None:
        left, top, right, bottom = (side * scale for side in box)
        if left < right and top < bottom:  # annotations may be wrong
            draw.rectangle((left, top, min(right, size[0] - 1), min(bottom, size[1] - 1)),
                           outline=_BOX, width=max(1, side_px // 64))  # fmt: skip
    if number:
        font = _load_font(max(8, side_px // 12))
        draw.text((2, 1), str(number[0]), fill="white", font=font, stroke_width=1, stroke_fill=_INK)
    return picture


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
