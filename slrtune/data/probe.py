"""Open every listed video once: what a manifest says before anything is decoded for training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from slrtune.data.content_hash import hash_content
from slrtune.data.manifest import FOUND, OK, UNREADABLE, ClipRecord
from slrtune.data.pack.clip import read_keypoints
from slrtune.data.rendered import Progress
from slrtune.data.video import Timeline, VideoError, VideoInfo, probe, timeline_of
from slrtune.data.window import clip_window, status_of
from slrtune.data.workers import MAX_CLIP_S, WorkerCrash, available_cpus, map_crash_proof


@dataclass(frozen=True)
class _Facts:
    """What one opened file says."""

    info: VideoInfo
    timeline: Timeline
    content_hash: str


def probe_clips(
    root: Path,
    records: Sequence[ClipRecord],
    on_progress: Progress | None = None,
    max_clip_s: float = MAX_CLIP_S,
) -> list[ClipRecord]:
    """The records with frames, size, content hash and state of every file that was found.

    Each file is opened once, however many clips are in it. One that kills its decoder, or holds it
    for longer than ``max_clip_s``, is marked, and stops nothing.
    """
    outcome = list(records)
    by_path: dict[str, list[int]] = {}
    for clip_id, record in enumerate(records):
        if record.status == FOUND:
            by_path.setdefault(record.path, []).append(clip_id)
    attempts = map_crash_proof(
        partial(_attempt, root), list(by_path), available_cpus(), max_item_s=max_clip_s
    )
    for done, (ids, attempt) in enumerate(zip(by_path.values(), attempts, strict=True), start=1):
        for clip_id in ids:
            outcome[clip_id] = _with_facts(root, records[clip_id], attempt)
        if on_progress is not None:
            on_progress("opening videos", done, len(by_path))
    return outcome


def _attempt(root: Path, name: str) -> _Facts | str:
    """Facts of a file, or the reason why it cannot be read."""
    path = root / name
    try:
        return _Facts(probe(path), timeline_of(path), hash_content(path))
    except VideoError as error:
        return error.reason
    except OSError as error:  # it went away, or its disk fails
        return f"cannot be read ({error.strerror or error})"


def _with_facts(root: Path, record: ClipRecord, facts: _Facts | str | WorkerCrash) -> ClipRecord:
    if isinstance(facts, WorkerCrash):
        return replace(record, status=UNREADABLE, reason=facts.reason)
    if isinstance(facts, str):
        return replace(record, status=UNREADABLE, reason=facts)
    record = replace(record, content_hash=facts.content_hash, **asdict(facts.info))
    try:
        clip_window(record, facts.timeline)
        read_keypoints(root, record, facts.info.num_frames)
    except VideoError as error:
        return replace(record, status=status_of(error), reason=error.reason)
    return replace(record, status=OK)
