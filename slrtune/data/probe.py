"""Open every listed video once: what a manifest says before anything is decoded for training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from slrtune.data.duplicates import content_hash
from slrtune.data.keypoints import keypoint_frames
from slrtune.data.manifest import FOUND, OK, UNREADABLE, ClipRecord
from slrtune.data.prepare import Progress
from slrtune.data.video import VideoError, probe
from slrtune.data.window import clip_window, status_of
from slrtune.data.workers import WorkerCrash, available_cpus, map_crash_proof


def probe_clips(
    root: Path, records: Sequence[ClipRecord], on_progress: Progress | None = None
) -> list[ClipRecord]:
    """The records with frames, size, content hash and state of every file that was found.

    Each file is opened once, however many clips are in it. One that kills its decoder is marked,
    and stops nothing.
    """
    outcome = list(records)
    by_path: dict[str, list[int]] = {}
    for clip_id, record in enumerate(records):
        if record.status == FOUND:
            by_path.setdefault(record.path, []).append(clip_id)
    attempts = map_crash_proof(
        partial(_attempt, root), [records[ids[0]] for ids in by_path.values()], available_cpus()
    )
    for done, (ids, attempt) in enumerate(zip(by_path.values(), attempts, strict=True), start=1):
        for clip_id in ids:
            outcome[clip_id] = _with_facts(root, records[clip_id], attempt)
        if on_progress is not None:
            on_progress("opening videos", done, len(by_path))
    return outcome


Facts = dict[str, object]


def _attempt(root: Path, record: ClipRecord) -> Facts | str:
    """Facts of a file, or the reason why it cannot be read."""
    path = root / record.path
    try:
        return asdict(probe(path)) | {"content_hash": content_hash(path)}
    except VideoError as error:
        return error.reason
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"


def _with_facts(root: Path, record: ClipRecord, attempt: Facts | str | WorkerCrash) -> ClipRecord:
    if isinstance(attempt, WorkerCrash):
        return replace(record, status=UNREADABLE, reason="decoder crashed")
    if isinstance(attempt, str):
        return replace(record, status=UNREADABLE, reason=attempt)
    record = replace(record, status=OK, **attempt)  # type: ignore[arg-type]
    assert record.num_frames is not None
    try:
        clip_window(*record.frame_window(record.fps), record.num_frames)
    except VideoError as error:
        return replace(record, status=status_of(error), reason=error.reason)
    if record.keypoints is not None:
        found = keypoint_frames(root / record.keypoints)
        if found != record.num_frames:
            what = "no array" if found is None else f"{found} frames of {record.num_frames}"
            return replace(record, keypoints=None, reason=f"keypoints left out: {what}")
    return record
