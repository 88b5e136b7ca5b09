"""WLASL (Li et al. 2020): its own annotation file, or one of its nslt_* subsets.

`WLASL_v0.3.json` is a list of {gloss, instances: [{video_id, split, signer_id, bbox, frame_start,
frame_end, ...}]}; frames count from 1, frame_end is included and -1 means the end of the video; a
class's number is its place in the list. `nslt_*.json` is {video_id: {subset, action: [class,
frame_start, frame_end]}}; the class is a line of `wlasl_class_list.txt`. Boxes and signers of a
subset's videos come from a `WLASL_v0.3.json` beside it. Videos are `<video_id>.mp4`, as WLASL's
preprocess.py leaves them, in any other container, or folders of images.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from slrtune.config.errors import UserError
from slrtune.data.formats.listing import Listing, load_json
from slrtune.data.formats.names import gloss_name
from slrtune.data.manifest import Box, ClipRecord

CLASS_LIST, ALL_INSTANCES = "wlasl_class_list.txt", "WLASL_v0.3.json"
_BREAKS_FORMAT = (KeyError, TypeError, ValueError, AttributeError, IndexError)


def index_wlasl(listing: Listing) -> list[ClipRecord]:
    """One record per annotated instance, in the file's order, whether its video is there or not.

    Raises:
        UserError: the file is not in WLASL's format.
    """
    content = load_json(listing.file)
    try:
        if isinstance(content, list):
            return list(_instances(content, listing))
        return list(_subset(content, listing))
    except _BREAKS_FORMAT as error:
        raise UserError(
            f"{listing.file}: must be in the format of WLASL_v0.3.json or nslt_100.json, but "
            f"an entry breaks it ({type(error).__name__}: {error}); take the original file"
        ) from error


def looks_like_wlasl(content: Any) -> bool:
    """Whether a JSON file's content has the outline of either file."""
    if isinstance(content, list):
        return bool(content) and isinstance(content[0], dict) and "instances" in content[0]
    if isinstance(content, dict):
        first = next(iter(content.values()), None)
        return isinstance(first, dict) and {"subset", "action"} <= first.keys()
    return False


def _instances(entries: list[Any], listing: Listing) -> Iterator[ClipRecord]:
    for number, entry in enumerate(entries):
        for instance in entry["instances"]:
            start, end = _window(instance["frame_start"], instance["frame_end"])
            split = instance["split"]
            box = _box(instance)
            yield ClipRecord(
                gloss=gloss_name(entry["gloss"]),
                split=split,
                signer=_signer(instance),
                label_id=number,
                start_frame=start,
                end_frame=end,
                box=box,
                box_unit="px" if box else None,
                **listing.locate(instance["video_id"] + ".mp4", split=split),
            )


def _subset(entries: dict[str, Any], listing: Listing) -> Iterator[ClipRecord]:
    glosses, instances = _load_class_list(listing), _load_instances(listing)
    for video_id, entry in entries.items():
        number, frame_start, frame_end = entry["action"]
        start, end = _window(frame_start, frame_end)
        instance = instances.get(video_id, {})
        box = _box(instance)
        yield ClipRecord(
            gloss=glosses[number] if glosses else str(number),
            split=entry["subset"],
            signer=_signer(instance),
            label_id=number,
            start_frame=start,
            end_frame=end,
            box=box,
            box_unit="px" if box else None,
            **listing.locate(video_id + ".mp4", split=entry["subset"]),
        )


def _window(frame_start: int, frame_end: int) -> tuple[int | None, int | None]:
    """From 1 and inclusive to from 0 and exclusive; None where the video's own end is meant."""
    return max(frame_start - 1, 0) or None, frame_end if frame_end > 0 else None


def _box(instance: dict[str, Any]) -> Box | None:
    sides = instance.get("bbox")
    if sides is None:
        return None
    left, top, right, bottom = (float(side) for side in sides)
    return left, top, right, bottom


def _signer(instance: dict[str, Any]) -> str | None:
    signer = instance.get("signer_id")
    return None if signer is None else str(signer)


def _load_class_list(listing: Listing) -> dict[int, str]:
    """Gloss by number; empty where no list lies beside: then a class is called by its number."""
    path = listing.neighbour(CLASS_LIST)
    if path is None:
        return {}
    try:
        rows = (line.split("\t", 1) for line in _lines(path))
        return {int(number): gloss_name(gloss) for number, gloss in rows}
    except ValueError as error:
        raise UserError(
            f"{path}: must list WLASL's classes as <number><tab><gloss>, but {error}; "
            f"take WLASL's own {CLASS_LIST}"
        ) from error


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]


def _load_instances(listing: Listing) -> dict[str, Any]:
    path = listing.neighbour(ALL_INSTANCES)
    if path is None:
        return {}
    entries = load_json(path)
    return {instance["video_id"]: instance for entry in entries for instance in entry["instances"]}
