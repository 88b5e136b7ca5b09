"""WLASL (Li et al. 2020): its own annotation file, or one of its nslt_* subsets.

`WLASL_v0.3.json` is a list of {gloss, instances: [{video_id, split, signer_id, bbox, frame_start,
frame_end, ...}]}; frames count from 1, frame_end is included and -1 means the end of the video; a
class's number is its place in the list. `nslt_*.json` is {video_id: {subset, action: [class,
frame_start, frame_end]}}; the class is a line of `wlasl_class_list.txt`. Boxes and signers of a
subset's videos come from a `WLASL_v0.3.json` beside it. Videos are `<video_id>.mp4`, as WLASL's
preprocess.py leaves them, in any other container, or folders of images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from slrtune.config.errors import UserError
from slrtune.data.formats.listing import Listing, load_json, refuse
from slrtune.data.formats.names import gloss_name
from slrtune.data.formats.values import (
    BREAKS_FORMAT,
    explained,
    number,
    optional_name,
    text,
    whole_number,
)
from slrtune.data.manifest import Box, ClipRecord

CLASS_LIST, ALL_INSTANCES = "wlasl_class_list.txt", "WLASL_v0.3.json"
_Entry = tuple[str, Callable[[], ClipRecord]]
"""Its place in the file, and what reads it or raises one of `BREAKS_FORMAT`."""


def index_wlasl(listing: Listing) -> list[ClipRecord]:
    """One record per annotated instance, in the file's order, whether its video is there or not.

    Raises:
        UserError: the file is not in WLASL's format; all entries that break it at once.
    """
    content = load_json(listing.file)
    if not isinstance(content, list | dict):
        refuse(listing.file, [" must be in WLASL's format; take WLASL_v0.3.json or nslt_100.json"])
    is_whole = isinstance(content, list)
    records, mistakes = [], []
    for place, read in _instances(content, listing) if is_whole else _subset(content, listing):
        try:
            records.append(read())
        except BREAKS_FORMAT as error:
            mistakes.append(
                f" {place} must be as in {ALL_INSTANCES if is_whole else 'nslt_100.json'}, but "
                f"breaks its format ({explained(error)}); take the original file"
            )
    refuse(listing.file, mistakes)
    return records


def looks_like_wlasl(content: Any) -> bool:
    """Whether a JSON file's content has the outline of either file."""
    if isinstance(content, list):
        return bool(content) and isinstance(content[0], dict) and "instances" in content[0]
    if isinstance(content, dict):
        first = next(iter(content.values()), None)
        return isinstance(first, dict) and {"subset", "action"} <= first.keys()
    return False


def _instances(entries: list[Any], listing: Listing) -> Iterator[_Entry]:
    for number_of_class, entry in enumerate(entries):
        place = f"entry {number_of_class + 1}"
        try:
            gloss, instances = gloss_name(text(entry["gloss"], "gloss")), list(entry["instances"])
        except BREAKS_FORMAT as error:
            yield place, partial(_raise, error)
            continue
        for turn, instance in enumerate(instances, start=1):
            yield (
                f"{place} ({gloss}), instance {turn},",
                partial(_instance, instance, gloss, number_of_class, listing),
            )


def _raise(error: Exception) -> ClipRecord:
    raise error


def _instance(
    instance: dict[str, Any], gloss: str, number_of_class: int, listing: Listing
) -> ClipRecord:
    window = _window(instance["frame_start"], instance["frame_end"])
    split = text(instance["split"], "split")
    video_id = text(instance["video_id"], "video_id")
    return _record(video_id, split, gloss, number_of_class, window, instance, listing)


def _subset(entries: dict[str, Any], listing: Listing) -> Iterator[_Entry]:
    glosses, instances = _load_class_list(listing), _load_instances(listing)
    for video_id, entry in entries.items():
        instance = instances.get(video_id, {})
        yield f"video {video_id}", partial(_clip, video_id, entry, instance, glosses, listing)


def _clip(
    video_id: str,
    entry: dict[str, Any],
    instance: dict[str, Any],
    glosses: dict[int, str],
    listing: Listing,
) -> ClipRecord:
    label, frame_start, frame_end = entry["action"]
    label_id = whole_number(label, "the class in action", lowest=0)
    if glosses and label_id not in glosses:
        raise ValueError(f"the class in action must be in {CLASS_LIST}, but is {label_id}")
    split = text(entry["subset"], "subset")
    gloss = glosses[label_id] if glosses else str(label_id)
    window = _window(frame_start, frame_end)
    return _record(video_id, split, gloss, label_id, window, instance, listing)


def _record(
    video_id: str,
    split: str,
    gloss: str,
    label_id: int,
    window: tuple[int | None, int | None],
    instance: dict[str, Any],
    listing: Listing,
) -> ClipRecord:
    """Args: instance: signer and box of the video, as far as they are known."""
    box = _box(instance)
    return ClipRecord(
        gloss=gloss,
        split=split,
        signer=optional_name(instance.get("signer_id")),
        label_id=label_id,
        start_frame=window[0],
        end_frame=window[1],
        box=box,
        box_unit="px" if box else None,
        **listing.locate(video_id + ".mp4", split=split),
    )


def _window(frame_start: object, frame_end: object) -> tuple[int | None, int | None]:
    """From 1 and inclusive to from 0 and exclusive; None where the video's own end is meant."""
    first, last = whole_number(frame_start, "frame_start"), whole_number(frame_end, "frame_end")
    return max(first - 1, 0) or None, last if last > 0 else None


def _box(instance: dict[str, Any]) -> Box | None:
    sides = instance.get("bbox")
    if sides is None:
        return None
    left, top, right, bottom = (number(side, "bbox") for side in sides)
    return left, top, right, bottom


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
    try:
        return {
            instance["video_id"]: instance for entry in entries for instance in entry["instances"]
        }
    except BREAKS_FORMAT as error:
        raise UserError(
            f"{path}: must be WLASL's own list of instances, but breaks its format "
            f"({explained(error)}); take the original file"
        ) from error
