"""Clips that are listed twice, under one path or as files of the same content.

Within a split the second one is a `duplicate` and left out; in two splits it is a leak: a clip that
was trained on must not judge the model.
"""

from __future__ import annotations

import math
import stat
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from slrtune.config.data import DataConfig
from slrtune.config.errors import UserError
from slrtune.data.content_hash import hash_content
from slrtune.data.manifest import DUPLICATE, FOUND, Box, ClipRecord
from slrtune.data.video import VideoError, image_files, probe
from slrtune.data.workers import MAX_CLIP_S, available_cpus, map_crash_proof

_MAX_NAMED = 5
_SAME_PERSON_IOU = 0.3
"""Boxes that overlap less are two people's; those of one person differ by the detector's noise."""


def mark_duplicates(
    root: Path, records: Sequence[ClipRecord], config: DataConfig
) -> list[ClipRecord]:
    """The records, of every clip but one copy marked.

    Clips of one file are the same where their times overlap by half of the shorter one,
    unless their boxes show two people. Only files of equal size are read.

    Raises:
        UserError: a clip is in two splits, the splits are the data's own, and
            ``config.drop_leaks`` is not set.
    """
    outcome = list(records)
    hashes = _equal_contents(root, {r.path for r in records if r.status == FOUND})
    groups: dict[str, list[int]] = defaultdict(list)
    for clip_id, record in enumerate(records):
        if record.status == FOUND:
            outcome[clip_id] = replace(record, content_hash=hashes.get(record.path))
            groups[hashes.get(record.path, record.path)].append(clip_id)
    leaks = []
    for group in groups.values():
        for first, second in _same_clips(outcome, group, config):
            a, b = outcome[first], outcome[second]
            if a.split != b.split and config.split_by == "official" and not config.drop_leaks:
                leaks.append(f"{_name(b)} in {b.split} and {_name(a)} in {a.split}")
            reason = f"same clip as {_name(a)} ({a.split}{_other_gloss(a, b)})"
            outcome[second] = replace(b, status=DUPLICATE, reason=reason)
    if leaks:
        named = "; ".join(leaks[:_MAX_NAMED]) + (" …" if len(leaks) > _MAX_NAMED else "")
        raise UserError(
            f"{root}: a clip must be in one split only, but {len(leaks)} are in two ({named}); "
            "remove one of each, or leave them out of training with --drop-leaks "
            "(data.drop_leaks: true)"
        )
    return outcome


def _same_clips(
    records: Sequence[ClipRecord], group: Sequence[int], config: DataConfig
) -> Iterable[tuple[int, int]]:
    """Pairs (kept, left out). Those that judge are kept rather than those that train."""
    if len(group) < 2:
        return
    judges = {config.train_split: 2, config.val_split: 1}
    kept: list[int] = []
    for clip_id in sorted(group, key=lambda i: (judges.get(records[i].split, 0), i)):
        twin = next((other for other in kept if _overlap(records[other], records[clip_id])), None)
        if twin is None:
            kept.append(clip_id)
        else:
            yield twin, clip_id


def _overlap(a: ClipRecord, b: ClipRecord) -> bool:
    is_comparable = a.box_unit == b.box_unit
    if a.box and b.box and is_comparable and _iou(a.box, b.box) < _SAME_PERSON_IOU:
        return False  # two people in one video
    in_seconds = any(r.start_s is not None or r.end_s is not None for r in (a, b))
    (a_start, a_end), (b_start, b_end) = (_bounds(r, in_seconds=in_seconds) for r in (a, b))
    if (a_start, a_end) == (b_start, b_end):
        return True
    shorter = min(a_end - a_start, b_end - b_start)
    return min(a_end, b_end) - max(a_start, b_start) >= shorter / 2


def _iou(a: Box, b: Box) -> float:
    """Intersection over union; of equal boxes 1, also where they are empty."""
    if a == b:
        return 1.0
    width, height = (min(a[i + 2], b[i + 2]) - max(a[i], b[i]) for i in (0, 1))
    common = max(width, 0.0) * max(height, 0.0)
    union = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)) - common
    return common / union if union > 0 else 0.0


def _bounds(record: ClipRecord, *, in_seconds: bool) -> tuple[float, float]:
    start = record.start_s if in_seconds else record.start_frame
    end = record.end_s if in_seconds else record.end_frame
    return start or 0.0, math.inf if end is None else end


def _name(record: ClipRecord) -> str:
    if record.start_s is not None or record.end_s is not None:
        return f"{record.path} from {record.start_s or 0:g} s"
    return record.path + (f" from frame {record.start_frame}" if record.start_frame else "")


def _other_gloss(a: ClipRecord, b: ClipRecord) -> str:
    return f", there as {a.gloss!r}" if a.gloss != b.gloss else ""


def _equal_contents(root: Path, paths: set[str]) -> dict[str, str]:
    """Content hash by path, of files that have a twin; unusable files are no twins."""
    by_size: dict[tuple[int, int], list[str]] = defaultdict(list)
    for path in sorted(paths):
        by_size[_size(root / path)].append(path)
    by_hash: dict[str, list[str]] = defaultdict(list)
    for (_, size), twins in by_size.items():
        if size > 0 and len(twins) > 1:
            for path in twins:
                by_hash[hash_content(root / path)].append(path)
    shared = {digest: twins for digest, twins in by_hash.items() if len(twins) > 1}
    answers = map_crash_proof(
        partial(_is_video, root),
        [twins[0] for twins in shared.values()],
        available_cpus(),
        max_item_s=MAX_CLIP_S,
    )
    return {
        path: digest
        for (digest, twins), answer in zip(shared.items(), answers, strict=True)
        if answer is True  # nor is it a video if its decoder crashed or hung
        for path in twins
    }


def _is_video(root: Path, name: str) -> bool:
    """A download's error page in place of hundreds of videos is unreadable, not a leak."""
    try:
        probe(root / name)
    except VideoError:
        return False
    return True


def _size(path: Path) -> tuple[int, int]:
    """Number of images and bytes of the first one; of a video 0 and its bytes."""
    facts = path.stat()
    if stat.S_ISDIR(facts.st_mode):
        images = image_files(path)
        return len(images), images[0].stat().st_size if images else 0
    return 0, facts.st_size
