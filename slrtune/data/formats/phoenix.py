"""RWTH-PHOENIX-Weather 2014 T (Camgoz et al. 2018) and 2014 (Koller et al. 2015).

`PHOENIX-2014-T.train.corpus.csv`: `name|video|start|end|speaker|orth|translation`. The gloss of a
clip is its sequence of glosses (orth), its sentence the German translation. Clips are folders of
images, `features/fullFrame-210x260px/<split>/<name>/`, or videos called by their name. 2014 has
`id|folder|signer|annotation` and no translation. The split is in the file's name.
"""

from __future__ import annotations

from functools import partial

from slrtune.data.formats.listing import Listing, refuse
from slrtune.data.formats.names import gloss_name, split_of_file
from slrtune.data.formats.table import Row, Table, read_table, records_of
from slrtune.data.formats.values import whole_number
from slrtune.data.manifest import FOUND, ClipRecord


def index_phoenix(listing: Listing) -> list[ClipRecord]:
    """One record per row.

    Raises:
        UserError: not PHOENIX's columns, or rows without a name or with frames that are none.
    """
    table = read_table(listing.file, ends_in_text=True)
    if not looks_like_phoenix(table):
        refuse(listing.file, ["1: must have PHOENIX's columns name|video|…|speaker|orth"])
    split = split_of_file(listing.file)
    read = partial(_record, split=split, listing=listing)
    return records_of(listing.file, table, read, "; take the original row")


def looks_like_phoenix(table: Table) -> bool:
    """Whether a header is that of either corpus."""
    return table.has("name", "video", "speaker", "orth") or table.has(
        "id", "folder", "signer", "annotation"
    )


def _record(row: Row, split: str, listing: Listing) -> ClipRecord:
    name = row.get("name", "id")
    if not name:
        raise ValueError("name must not be empty")
    folder = row.get("video", "folder").rsplit("/", 1)[0]  # <name>/1/*.png
    # one name may be in two splits' folders; <name>/1 says more
    place = listing.locate(folder or name, split=split)
    if place["status"] != FOUND:
        place = listing.locate(name, split=split)
    start, end = (whole_number(row.get(column) or -1, column) for column in ("start", "end"))
    return ClipRecord(
        gloss=gloss_name(row.get("orth", "annotation")),
        split=split,
        signer=row.get("speaker", "signer") or None,
        sentence=row.get("translation") or None,
        start_frame=start if start > 0 else None,
        end_frame=end if end > 0 else None,
        **place,
    )
