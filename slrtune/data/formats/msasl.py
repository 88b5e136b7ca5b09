"""MS-ASL (Joze and Koller 2019): `MSASL_train.json`, `MSASL_val.json`, `MSASL_test.json`.

A list of {url, start_time, end_time, label, text, signer_id, box, ...}: times in seconds of the
YouTube video, box = [top, left, bottom, right] as fractions of the picture. `MSASL_classes.json`
beside it names the classes. The split is in the file's name. Videos are the whole ones, called by
their YouTube id (`<id>.mp4`).
"""

from __future__ import annotations

import re
from typing import Any

from slrtune.data.formats.listing import Listing, load_json, refuse
from slrtune.data.formats.names import gloss_name, split_of_file
from slrtune.data.formats.values import (
    BREAKS_FORMAT,
    explained,
    number,
    optional_name,
    text,
    whole_number,
)
from slrtune.data.manifest import Box, ClipRecord

CLASSES = "MSASL_classes.json"
_YOUTUBE_ID = re.compile(r"(?:v=|youtu\.be/|embed/|shorts/)([\w-]{11})")


def index_msasl(listing: Listing) -> list[ClipRecord]:
    """One record per entry.

    Raises:
        UserError: the file is not in MS-ASL's format; all entries that break it at once.
    """
    content = load_json(listing.file)
    if not looks_like_msasl(content):
        refuse(listing.file, [" must be MS-ASL's list of clips; take MSASL_train.json"])
    classes_file = listing.neighbour(CLASSES)
    classes = load_json(classes_file) if classes_file else []
    split = split_of_file(listing.file)
    records, mistakes = [], []
    for place, entry in enumerate(content, start=1):
        try:
            records.append(_record(entry, classes, split, listing))
        except BREAKS_FORMAT as error:
            what = explained(error)
            mistakes.append(f" entry {place} breaks MS-ASL's format ({what}); take the original")
    refuse(listing.file, mistakes)
    return records


def looks_like_msasl(content: Any) -> bool:
    """Whether a JSON file's content has the outline of MS-ASL's lists of clips."""
    if not isinstance(content, list) or not content or not isinstance(content[0], dict):
        return False
    return {"url", "label", "start_time", "end_time"} <= content[0].keys()


def _record(entry: dict[str, Any], classes: list[str], split: str, listing: Listing) -> ClipRecord:
    label = whole_number(entry["label"], "label", lowest=0)
    if classes and label >= len(classes):
        raise ValueError(f"label must be one of the {len(classes)} in {CLASSES}, but is {label}")
    gloss = classes[label] if classes else entry.get("text") or entry["clean_text"]
    box = _box(entry.get("box"))
    return ClipRecord(
        gloss=gloss_name(text(gloss, "text")),
        split=split,
        signer=optional_name(entry.get("signer_id", entry.get("signer"))),
        label_id=label,
        start_s=number(entry["start_time"], "start_time"),
        end_s=number(entry["end_time"], "end_time"),
        box=box,
        box_unit="fraction" if box else None,
        **listing.locate(f"{_video_id(text(entry['url'], 'url'))}.mp4", split=split),
    )


def _video_id(url: str) -> str:
    found = _YOUTUBE_ID.search(url)
    return found[1] if found else url.rsplit("/", 1)[-1]


def _box(sides: list[float] | None) -> Box | None:
    if sides is None:
        return None
    top, left, bottom, right = (number(side, "box") for side in sides)
    return left, top, right, bottom
