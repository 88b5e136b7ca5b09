"""A look at a data set: one clip of each gloss on a contact sheet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from slrtune.config.data import DataConfig
from slrtune.config.errors import UserError
from slrtune.data.contact_sheet import write_contact_sheet
from slrtune.data.index import index_clips
from slrtune.data.manifest import ClipRecord
from slrtune.data.prepare import Progress, source_root
from slrtune.data.sampling import uniform
from slrtune.data.video import VideoError, decode
from slrtune.data.workers import available_cpus

_FRAMES_PER_CLIP = 3


def write_preview(
    out: Path, config: DataConfig, split: str, num_glosses: int, on_progress: Progress
) -> int:
    """Write a contact sheet with one usable clip of each gloss.

    Returns:
        The number of glosses shown.

    Raises:
        UserError: the split has no clip that can be decoded.
    """
    root = source_root(config, on_progress, available_cpus())
    records = index_clips(config, root)
    by_gloss: dict[str, list[ClipRecord]] = {}
    for record in records:
        if record.split == split:
            by_gloss.setdefault(record.gloss, []).append(record)
    cells = []
    for turn, gloss in enumerate(sorted(by_gloss)[:num_glosses]):
        clips = by_gloss[gloss]
        # Another take for each gloss, so that the sheet shows several signers.
        start = turn % len(clips)
        frames = next(_decodable(root, clips[start:] + clips[:start]), None)
        if frames is not None:
            cells.append((gloss, frames))
        on_progress("decoding", len(cells), min(num_glosses, len(by_gloss)))
    if not cells:
        splits = ", ".join(sorted({record.split for record in records})) or "none"
        raise UserError(f"--split: {split!r} of {root} has no clip to show; splits found: {splits}")
    write_contact_sheet(out, cells, frames_per_cell=_FRAMES_PER_CLIP)
    return len(cells)


def _decodable(root: Path, records: list[ClipRecord]) -> Iterator[np.ndarray]:
    for record in records:
        try:
            frames = decode(root / record.path)
        except VideoError:
            continue  # `slrtune data index` lists it with its reason
        shown = frames[record.start_frame : record.end_frame]
        yield shown[uniform(len(shown), _FRAMES_PER_CLIP)]
