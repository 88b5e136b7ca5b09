"""Any table with a column of paths and one of labels or sentences; other columns as it has them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from slrtune.config.errors import UserError
from slrtune.data.formats.listing import Listing
from slrtune.data.formats.names import gloss_name, split_of_path
from slrtune.data.formats.table import Row, Table, column_key, read_header, read_table, records_of
from slrtune.data.formats.values import number, whole_number
from slrtune.data.manifest import Box, ClipRecord

_SPELLINGS = {
    "path": (
        "path", "video", "file", "filename", "file_name", "filepath", "file_path", "video_path",
        "video_file", "video_name", "clip", "video_id", "name", "id", "uid",
    ),
    "label": ("label", "gloss", "class", "word", "sign", "class_name", "label_name"),
    "sentence": ("sentence", "text", "translation", "caption"),
    "split": ("split", "subset", "set", "partition"),
    "signer": ("signer", "signer_id", "speaker", "participant", "participant_id", "person"),
    "label_id": ("label_id", "class_id"),
    "start_frame": ("start_frame", "frame_start"),
    "end_frame": ("end_frame", "frame_end"),
    "start_s": ("start_s", "start_time"),
    "end_s": ("end_s", "end_time"),
    "left": ("left", "xmin", "x_min"),
    "top": ("top", "ymin", "y_min"),
    "right": ("right", "xmax", "x_max"),
    "bottom": ("bottom", "ymax", "y_max"),
    "keypoints": ("keypoints", "landmarks"),
}  # fmt: skip
COLUMNS = tuple(_SPELLINGS)
"""Our names of a table's columns, the left side of a mapping."""
_BOX = ("left", "top", "right", "bottom")


def index_csv(listing: Listing) -> list[ClipRecord]:
    """One record per row; frames count from 0 and their end is exclusive, boxes are in pixels.

    Without a split column the first folder of the path decides where it is named as a split, else
    the file's name (``val.csv``); else the clip counts as training data.

    Raises:
        UserError: no table, a column that is not there, rows without a path or a label; all rows
            at once.
    """
    table = read_table(listing.file)
    columns = _columns(listing, table)
    return records_of(listing.file, table, partial(_record, listing, columns))


def looks_like_csv(columns: tuple[str, ...]) -> bool:
    """Whether a header names clips and what they show."""
    keys = {column_key(name) for name in columns}
    return all(
        keys & set(spellings)
        for spellings in (_SPELLINGS["path"], _SPELLINGS["label"] + _SPELLINGS["sentence"])
    )


def unused_of(file: Path, mapped: Mapping[str, str]) -> tuple[str, ...]:
    """Columns of a table that nothing is read from, as spelled there."""
    columns = read_header(file)
    chosen = _by_spelling(columns) | {ours: column_key(name) for ours, name in mapped.items()}
    used = set(chosen.values())
    return tuple(name for name in columns if name and column_key(name) not in used)


def _by_spelling(columns: tuple[str, ...]) -> dict[str, str]:
    keys = {column_key(name) for name in columns}
    return {
        ours: next(key for key in spellings if key in keys)
        for ours, spellings in _SPELLINGS.items()
        if keys & set(spellings)
    }


def _columns(listing: Listing, table: Table) -> dict[str, str]:
    """Our name -> key of the file's column."""
    keys = {column_key(name) for name in table.columns}
    chosen = _by_spelling(table.columns)
    for ours, theirs in listing.columns.items():
        if ours not in _SPELLINGS:
            near = difflib.get_close_matches(ours, _SPELLINGS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"take one of {', '.join(COLUMNS)}"
            raise UserError(f"data.columns: {ours} is no column of ours; {hint}")
        if column_key(theirs) not in keys:
            raise UserError(
                f"data.columns: {ours} must name a column of {listing.file}, but {theirs!r} is "
                f"none; it has {', '.join(table.columns) or 'no header'}"
            )
        chosen[ours] = column_key(theirs)
    if "path" not in chosen or not {"label", "sentence"} & set(chosen):
        raise UserError(
            f"{listing.file}: must have the columns path and label (or sentence), but has "
            f"{', '.join(table.columns) or 'none'}; name them with --column path=NAME --column "
            "label=NAME (data.columns); if line 1 is a clip, put a line path,label above"
        )
    return chosen


def _record(listing: Listing, columns: dict[str, str], row: Row) -> ClipRecord:
    def value(name: str) -> str:
        return row.values.get(columns[name], "") if name in columns else ""

    path, gloss, sentence = value("path"), gloss_name(value("label")), value("sentence")
    if not path or ("label" in columns and not (gloss or sentence)):
        raise ValueError("path and label must not be empty; complete the row")
    # "0001" is a number of the list of classes, "C-17" only another name of the class
    is_mapped = "label_id" in listing.columns
    label_id = value("label_id") if is_mapped or value("label_id").isdecimal() else ""
    split = value("split") or split_of_path(path, listing.file)

    def whole(name: str) -> int | None:
        return whole_number(value(name), name) if value(name) else None

    def seconds(name: str) -> float | None:
        return number(value(name), name) if value(name) else None

    start_s, end_s = seconds("start_s"), seconds("end_s")
    has_frames = start_s is None and end_s is None
    box = _box({side: value(side) for side in _BOX})
    return ClipRecord(
        gloss=gloss,
        split=split,
        signer=value("signer") or None,
        sentence=sentence if "sentence" in columns else None,
        label_id=whole_number(label_id, "label_id", lowest=0) if label_id else None,
        start_frame=whole("start_frame") if has_frames else None,
        end_frame=whole("end_frame") if has_frames else None,
        start_s=start_s,
        end_s=end_s,
        box=box,
        box_unit="px" if box else None,
        keypoints=value("keypoints") or None,
        **listing.locate(path, split=split),
    )


def _box(sides: dict[str, str]) -> Box | None:
    if not all(sides.values()):
        return None
    left, top, right, bottom = (number(side, name) for name, side in sides.items())
    return left, top, right, bottom
