"""WLASL (Li et al. 2020): its own annotation file, or one of its nslt_* subsets.

`WLASL_v0.3.json` is a list of {gloss, instances: [{video_id, split, signer_id, frame_start,
frame_end, ...}]}; frames count from 1, frame_end is included and -1 means the end of the video.
`nslt_*.json` is {video_id: {subset, action: [class, frame_start, frame_end]}}; the class is a line
of `wlasl_class_list.txt`, which must lie beside it. Videos are `root/<video_id>.mp4`, as WLASL's
preprocess.py leaves them, in any other container, or folders of images.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from slrtune.config.errors import UserError
from slrtune.data.class_folders import gloss_name
from slrtune.data.manifest import FOUND, MISSING, ClipRecord
from slrtune.data.video import VIDEO_SUFFIXES

CLASS_LIST = "wlasl_class_list.txt"


def index_wlasl(root: Path, annotations: Path) -> list[ClipRecord]:
    """One record per annotated instance, in the file's order, whether its video is there or not.

    Raises:
        UserError: a file is absent or not in WLASL's format.
    """
    content = _load_json(annotations)
    videos = _videos_by_id(root)
    try:
        if isinstance(content, list):
            return list(_instances(content, videos))
        return list(_subset(content, _load_class_list(annotations), videos))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise UserError(
            f"{annotations}: must be in the format of WLASL_v0.3.json or nslt_100.json, but "
            f"an entry breaks it ({type(error).__name__}: {error}); take the original file"
        ) from error


def _instances(entries: list[Any], videos: dict[str, str]) -> Iterator[ClipRecord]:
    for entry in entries:
        for instance in entry["instances"]:
            window = _window(instance["frame_start"], instance["frame_end"])
            signer = str(instance["signer_id"])
            yield _record(
                videos, instance["video_id"], entry["gloss"], instance["split"], signer, window
            )


def _subset(
    entries: dict[str, Any], glosses: dict[int, str], videos: dict[str, str]
) -> Iterator[ClipRecord]:
    for video_id, entry in entries.items():
        class_index, frame_start, frame_end = entry["action"]
        window = _window(frame_start, frame_end)
        yield _record(videos, video_id, glosses[class_index], entry["subset"], None, window)


def _record(
    videos: dict[str, str],
    video_id: str,
    gloss: str,
    split: str,
    signer: str | None,
    window: tuple[int | None, int | None],
) -> ClipRecord:
    name = videos.get(video_id)
    return ClipRecord(
        path=name or f"{video_id}.mp4",
        gloss=gloss_name(gloss),
        split=split,
        signer=signer,
        start_frame=window[0],
        end_frame=window[1],
        status=FOUND if name else MISSING,
        reason="" if name else "no such file",
    )


def _window(frame_start: int, frame_end: int) -> tuple[int | None, int | None]:
    """From 1 and inclusive to from 0 and exclusive; None where the video's own end is meant."""
    return max(frame_start - 1, 0) or None, frame_end if frame_end > 0 else None


def _videos_by_id(root: Path) -> dict[str, str]:
    """File name by video id, from one listing: 20 000 look-ups on a network disk take minutes."""
    names = sorted(entry.name for entry in root.iterdir() if entry.exists())
    folders = {name: name for name in names if "." not in name}
    files = {Path(name).stem: name for name in names if Path(name).suffix.lower() in VIDEO_SUFFIXES}
    converted = {Path(name).stem: name for name in names if name.endswith(".mp4")}
    return folders | files | converted


def _load_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: must be a JSON file, but {error}") from error


def _load_class_list(annotations: Path) -> dict[int, str]:
    path = annotations.with_name(CLASS_LIST)
    try:
        rows = (line.split("\t", 1) for line in path.read_text(encoding="utf-8").splitlines())
        return {int(number): gloss for number, gloss in rows}
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path}: must list WLASL's classes as <number><tab><gloss>, but {error}; "
            f"put WLASL's own {CLASS_LIST} beside {annotations.name}"
        ) from error
