"""Tables of two columns without a header: a clip and its label, as AUTSL (Sincan and Keles 2020).

`train_labels.csv` of AUTSL has rows `signer0_sample1,41`; the colour video of a row is
`signer0_sample1_color.mp4`. Its class numbers are the glosses too. Any other such table is read
where its first row names a video.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import PurePosixPath

from slrtune.data.formats.listing import Listing, refuse
from slrtune.data.formats.names import gloss_name, split_of_path
from slrtune.data.formats.table import Row, Table, read_table, records_of
from slrtune.data.formats.values import whole_number
from slrtune.data.manifest import ClipRecord
from slrtune.data.video import VIDEO_SUFFIXES

_AUTSL = re.compile(r"(?:.*/)?signer(\d+)_sample\d+(?:_color(?:\.\w+)?)?", re.IGNORECASE)


def index_headerless(listing: Listing) -> list[ClipRecord]:
    """One record per row; a folder named as a split, else the file's name says the split.

    Raises:
        UserError: the first line is a header, or rows without a clip or a label.
    """
    table = read_table(listing.file, columns=("path", "label"))
    if not table.rows or not _is_clip(table.rows[0].get("path")):
        refuse(listing.file, ["1: must be a clip and its label, such as signer0_sample1,41"])
    return records_of(listing.file, table, partial(_record, listing=listing))


def looks_headerless(table: Table) -> bool:
    """Whether what stands in place of a header is a clip and its label."""
    return len(table.columns) == 2 and _is_clip(table.columns[0])


def _is_clip(value: str) -> bool:
    return bool(_AUTSL.fullmatch(value)) or PurePosixPath(value).suffix.lower() in VIDEO_SUFFIXES


def _record(row: Row, listing: Listing) -> ClipRecord:
    path, label = row.get("path"), gloss_name(row.get("label"))
    if not path or not label:
        raise ValueError("clip and label must not be empty; complete the row")
    split = split_of_path(path, listing.file)
    autsl = _AUTSL.fullmatch(path)
    names = (f"{path}_color.mp4", path) if autsl and "_color" not in path else (path,)
    return ClipRecord(
        gloss=label,
        split=split,
        signer=autsl[1] if autsl else None,
        label_id=whole_number(label, "label", lowest=0) if label.isdecimal() else None,
        **listing.locate(*names, split=split),
    )
