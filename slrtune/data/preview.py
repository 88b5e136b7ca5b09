"""A look at a data set: one clip of each gloss on a contact sheet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from slrtune.config.data import DataConfig
from slrtune.config.errors import UserError
from slrtune.data.contact_sheet import Cell, write_contact_sheet
from slrtune.data.index import index_clips
from slrtune.data.manifest import FOUND, OK, Box, ClipRecord
from slrtune.data.prepare import Progress, source_root
from slrtune.data.sampling import uniform
from slrtune.data.video import VideoError, decode, probe, timeline_of
from slrtune.data.window import clip_window
from slrtune.data.workers import available_cpus

_FRAMES_PER_CLIP = 3
_MAX_LABEL = 60


def write_preview(
    out: Path, config: DataConfig, split: str, num_glosses: int, on_progress: Progress
) -> int:
    """Write a contact sheet with one usable clip of each gloss, or of each sentence.

    Returns:
        The number of clips shown.

    Raises:
        UserError: the split has no clip that can be decoded.
    """
    root = source_root(config, on_progress, available_cpus())
    records = index_clips(config, root)
    by_gloss: dict[str, list[ClipRecord]] = {}
    for record in records:
        if record.split == split and record.status in (FOUND, OK):
            by_gloss.setdefault(_label(record), []).append(record)
    cells = []
    for turn, gloss in enumerate(sorted(by_gloss)[:num_glosses]):
        clips = by_gloss[gloss]
        # Another take for each gloss, so that the sheet shows several signers.
        start = turn % len(clips)
        cell = next(_decodable(root, clips[start:] + clips[:start], config.num_frames), None)
        if cell is not None:
            cells.append(cell)
        on_progress("decoding", len(cells), min(num_glosses, len(by_gloss)))
    if not cells:
        splits = ", ".join(sorted({record.split for record in records})) or "none"
        raise UserError(f"--split: {split!r} of {root} has no clip to show; splits found: {splits}")
    write_contact_sheet(out, cells)
    return len(cells)


def _label(record: ClipRecord) -> str:
    return record.gloss or (record.sentence or "")[:_MAX_LABEL] or record.path


def _decodable(root: Path, records: list[ClipRecord], num_frames: int) -> Iterator[Cell]:
    for record in records:
        try:
            yield _cell(root, record, num_frames)
        except VideoError:
            continue  # `slrtune data index` lists it with its reason


def _cell(root: Path, record: ClipRecord, num_frames: int) -> Cell:
    path = root / record.path
    info = probe(path)
    first, last = clip_window(record, timeline_of(path))
    sampled = first + uniform(last - first, num_frames)
    shown = np.unique(sampled[uniform(num_frames, min(num_frames, _FRAMES_PER_CLIP))]).tolist()
    return Cell(
        label=_label(record),
        frames=decode(path, shown),
        box=_box_px(record, info.width, info.height),
        num_frames=info.num_frames,
        window=(first, last),
        sampled=tuple(sampled.tolist()),
        shown=tuple(shown),
    )


def _box_px(record: ClipRecord, width: int, height: int) -> Box | None:
    if record.box is None or record.box_unit == "px":
        return record.box
    left, top, right, bottom = record.box
    return left * width, top * height, right * width, bottom * height
