from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from slrtune.config.errors import UserError
from slrtune.data.contact_sheet import Cell, write_contact_sheet

RED, GREEN, BLUE = (200, 0, 0), (0, 200, 0), (0, 0, 200)


def clip(*colours: tuple[int, int, int], height: int = 20, width: int = 20) -> np.ndarray:
    pictures = [np.full((height, width, 3), colour, np.uint8) for colour in colours]
    return np.stack(pictures)


def test_a_cell_shows_its_frames_from_left_to_right(tmp_path: Path) -> None:
    path = tmp_path / "sheets" / "a.png"
    write_contact_sheet(path, [Cell("A", clip(RED, GREEN, BLUE))], cell_px=30)
    middle_row = np.asarray(Image.open(path))[20]
    changes = [tuple(middle_row[x].tolist()) for x in (20, 50, 80)]
    assert changes == [RED, GREEN, BLUE]


def test_cells_fill_rows_in_reading_order(tmp_path: Path) -> None:
    path = tmp_path / "sheet.png"
    cells = [Cell("a", clip(RED)), Cell("b", clip(GREEN)), Cell("c", clip(BLUE))]
    write_contact_sheet(path, cells, columns=2, cell_px=60)
    sheet = np.asarray(Image.open(path))
    height, width = sheet.shape[:2]
    centres = [
        (height // 5, width // 4),
        (height // 5, 3 * width // 4),
        (3 * height // 5, width // 4),
    ]
    assert [tuple(sheet[y, x].tolist()) for y, x in centres] == [RED, GREEN, BLUE]


def test_a_wide_frame_keeps_its_proportions(tmp_path: Path) -> None:
    path = tmp_path / "wide.png"
    write_contact_sheet(path, [Cell("", clip(RED, height=20, width=40))], cell_px=60)
    red = (np.asarray(Image.open(path)) == RED).all(axis=-1)
    assert (red.any(axis=1).sum(), red.any(axis=0).sum()) == (30, 60)


def test_the_box_the_sign_and_the_sampled_frames_are_marked(tmp_path: Path) -> None:
    cell = Cell(
        "A", clip(RED), box=(4, 4, 16, 12), num_frames=100, window=(50, 100),
        sampled=(50, 75), shown=(75,),
    )  # fmt: skip
    write_contact_sheet(tmp_path / "marked.png", [cell], cell_px=100)
    sheet = np.asarray(Image.open(tmp_path / "marked.png"))[8:, 8:]
    assert sheet[20, 50].tolist() == sheet[60, 50].tolist() == [250, 190, 40]  # of 20 px, x 5
    assert sheet[40, 50].tolist() == list(RED)
    line = sheet[104]
    assert (line[25].tolist(), line[62].tolist()) == ([205, 205, 205], [80, 140, 200])
    tick_height = [int((sheet[100:108, x].max(axis=-1) < 60).sum()) for x in (50, 75)]
    assert 0 < tick_height[0] < tick_height[1]


def test_long_and_foreign_labels_stay_in_their_cell(tmp_path: Path) -> None:
    path = tmp_path / "labels.png"
    write_contact_sheet(path, [Cell("Straßenbahnhaltestelle 手话 " * 9, clip(RED))], cell_px=64)
    sheet = np.asarray(Image.open(path))
    margin = sheet[:, :5]
    assert (margin == sheet[0, 0]).all() and (sheet[80:, 6:-6] < 100).any()


def test_an_empty_sheet_or_clip_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="at least one clip"):
        write_contact_sheet(tmp_path / "none.png", [])
    with pytest.raises(UserError, match="'A' has no frame"):
        write_contact_sheet(tmp_path / "none.png", [Cell("A", clip(RED)[:0])])
