"""How2Sign (Duarte et al. 2021): `how2sign_realigned_train.csv` and the older `how2sign_train.csv`.

Tab- or comma-separated: VIDEO_ID, VIDEO_NAME, SENTENCE_ID, SENTENCE_NAME, START_REALIGNED,
END_REALIGNED, SENTENCE (the older ones START, END). A clip is the file `<SENTENCE_NAME>.mp4` where
the release's cut sentences are there, else its seconds in `<VIDEO_NAME>.mp4`. The split is in the
file's name.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from slrtune.data.formats.listing import Listing, refuse
from slrtune.data.formats.names import split_of_file
from slrtune.data.formats.table import Row, Table, read_table, records_of
from slrtune.data.formats.values import number
from slrtune.data.manifest import FOUND, ClipRecord


def index_how2sign(listing: Listing) -> list[ClipRecord]:
    """One record per sentence.

    Raises:
        UserError: not How2Sign's columns, or rows without a name or with times that are none.
    """
    table = read_table(listing.file, ends_in_text=True)
    if not looks_like_how2sign(table):
        refuse(listing.file, ["1: must have the columns VIDEO_NAME, SENTENCE_NAME, SENTENCE"])
    split = split_of_file(listing.file)
    read = partial(_record, split=split, listing=listing)
    return records_of(listing.file, table, read, "; take the original row")


def looks_like_how2sign(table: Table) -> bool:
    """Whether a header is How2Sign's."""
    return table.has("video_name", "sentence_name", "sentence")


def _record(row: Row, split: str, listing: Listing) -> ClipRecord:
    sentence_name, video_name = row.get("sentence_name"), row.get("video_name")
    if not sentence_name or not video_name:
        raise ValueError("VIDEO_NAME and SENTENCE_NAME must not be empty")
    sentence = row.values["sentence"]
    cut = listing.locate(f"{sentence_name}.mp4", split=split)
    if cut["status"] == FOUND:
        return ClipRecord(gloss="", split=split, sentence=sentence, **cut)
    whole = listing.locate(f"{video_name}.mp4", split=split)
    start, end = row.get("start_realigned", "start"), row.get("end_realigned", "end")
    record = ClipRecord(gloss="", split=split, sentence=sentence, **whole)
    return replace(
        record,
        start_s=number(start, "START") if start else None,
        end_s=number(end, "END") if end else None,
    )
