"""A look at a data set: one clip of each gloss on a contact sheet."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from slrtune.config.data import DataConfig
from slrtune.config.errors import UserError
from slrtune.data.contact_sheet import Cell, write_contact_sheet
from slrtune.data.index import index_clips
from slrtune.data.manifest import FOUND, OK, ClipRecord
from slrtune.data.rendered import Progress, source_root
from slrtune.data.sampling import uniform
from slrtune.data.video import VideoError, decode, probe, timeline_of
from slrtune.data.window import clip_window
from slrtune.data.workers import MAX_CLIP_S, available_cpus, map_crash_proof

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
    choices = []
    for turn, gloss in enumerate(sorted(by_gloss)[:num_glosses]):
        clips = by_gloss[gloss]
        # Another take for each gloss, so that the sheet shows several signers.
        start = turn % len(clips)
        choices.append(clips[start:] + clips[:start])
    cells = _decode_one_of_each(root, choices, config.num_frames, on_progress)
    if not cells:
        splits = ", ".join(sorted({record.split for record in records})) or "none"
        raise UserError(f"--split: {split!r} of {root} has no clip to show; splits found: {splits}")
    write_contact_sheet(out, cells)
    return len(cells)


def _label(record: ClipRecord) -> str:
    return record.gloss or (record.sentence or "")[:_MAX_LABEL] or record.path


def _decode_one_of_each(
    root: Path, choices: list[list[ClipRecord]], num_frames: int, on_progress: Progress
) -> list[Cell]:
    """The first clip of each choice that can be decoded; a choice of which none can is left out."""
    cells: dict[int, Cell] = {}
    for take in range(max(map(len, choices), default=0)):
        still_open = [i for i, clips in enumerate(choices) if i not in cells and take < len(clips)]
        attempts = map_crash_proof(
            partial(_attempt, root, num_frames),
            [choices[i][take] for i in still_open],
            available_cpus(),
            max_item_s=MAX_CLIP_S,
        )
        for i, attempt in zip(still_open, attempts, strict=True):
            if isinstance(attempt, Cell):
                cells[i] = attempt
                on_progress("decoding", len(cells), len(choices))
    return [cells[i] for i in sorted(cells)]


def _attempt(root: Path, num_frames: int, record: ClipRecord) -> Cell | None:
    try:
        return _cell(root, record, num_frames)
    except VideoError:
        return None  # `slrtune data index` lists it with its reason


def _cell(root: Path, record: ClipRecord, num_frames: int) -> Cell:
    path = root / record.path
    info = probe(path)
    first, last = clip_window(record, timeline_of(path))
    sampled = first + uniform(last - first, num_frames)
    shown = np.unique(sampled[uniform(num_frames, min(num_frames, _FRAMES_PER_CLIP))]).tolist()
    return Cell(
        label=_label(record),
        frames=decode(path, shown),
        box=record.box_px(info.width, info.height),
        num_frames=info.num_frames,
        window=(first, last),
        sampled=tuple(sampled.tolist()),
        shown=tuple(shown),
    )
