"""Open every listed video once: what a manifest says before anything is decoded for training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from slrtune.data.manifest import FOUND, OK, UNREADABLE, ClipRecord
from slrtune.data.prepare import Progress
from slrtune.data.video import VideoError, probe
from slrtune.data.workers import WorkerCrash, available_cpus, map_crash_proof


def probe_clips(
    root: Path, records: Sequence[ClipRecord], on_progress: Progress | None = None
) -> list[ClipRecord]:
    """The records with frames, size and state of every file that was found.

    A file that kills its decoder is marked, and stops nothing.
    """
    outcome = list(records)
    found = [clip_id for clip_id, record in enumerate(records) if record.status == FOUND]
    attempts = map_crash_proof(
        partial(_attempt, root), [records[clip_id] for clip_id in found], available_cpus()
    )
    for done, (clip_id, attempt) in enumerate(zip(found, attempts, strict=True), start=1):
        if isinstance(attempt, WorkerCrash):
            attempt = replace(records[clip_id], status=UNREADABLE, reason="decoder crashed")
        outcome[clip_id] = attempt
        if on_progress is not None:
            on_progress("opening videos", done, len(found))
    return outcome


def _attempt(root: Path, record: ClipRecord) -> ClipRecord:
    try:
        info = probe(root / record.path)
    except VideoError as error:
        return replace(record, status=UNREADABLE, reason=error.reason)
    return replace(record, status=OK, **asdict(info))
