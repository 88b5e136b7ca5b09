"""ISLTranslate (Joshi et al. 2023): a CSV `uid,text`; a clip is the video `<uid>.mp4`."""

from __future__ import annotations

from functools import partial

from slrtune.data.formats.listing import Listing, refuse
from slrtune.data.formats.names import split_of_file
from slrtune.data.formats.table import Row, Table, read_table, records_of
from slrtune.data.manifest import ClipRecord


def index_isltranslate(listing: Listing) -> list[ClipRecord]:
    """One record per row.

    Raises:
        UserError: not the columns uid and text, or rows without a uid.
    """
    table = read_table(listing.file, ends_in_text=True)
    if not looks_like_isltranslate(table):
        refuse(listing.file, ["1: must have the columns uid and text"])
    split = split_of_file(listing.file)
    return records_of(listing.file, table, partial(_record, split=split, listing=listing))


def looks_like_isltranslate(table: Table) -> bool:
    """Whether a header is ISLTranslate's."""
    return table.has("uid", "text") and len(table.columns) == 2


def _record(row: Row, split: str, listing: Listing) -> ClipRecord:
    uid = row.get("uid")
    if not uid:
        raise ValueError("uid must not be empty; complete the row")
    return ClipRecord(
        gloss="",
        split=split,
        sentence=row.values["text"],
        **listing.locate(f"{uid}.mp4", split=split),
    )
