"""ASL Citizen (Desai et al. 2023): `splits/train.csv`, `val.csv`, `test.csv` of the release.

Columns `Participant ID, Video file, Gloss, ASL-LEX Code`; videos lie in `videos/`. The split is in
the file's name.
"""

from __future__ import annotations

from functools import partial

from slrtune.data.formats.listing import Listing, refuse
from slrtune.data.formats.names import gloss_name, split_of_file
from slrtune.data.formats.table import Row, Table, read_table, records_of
from slrtune.data.manifest import ClipRecord


def index_asl_citizen(listing: Listing) -> list[ClipRecord]:
    """One record per row.

    Raises:
        UserError: not ASL Citizen's columns, or rows without a video or a gloss.
    """
    table = read_table(listing.file)
    if not looks_like_asl_citizen(table):
        refuse(listing.file, ["1: must have the columns Participant ID, Video file, Gloss"])
    split = split_of_file(listing.file)
    return records_of(listing.file, table, partial(_record, split=split, listing=listing))


def looks_like_asl_citizen(table: Table) -> bool:
    """Whether a header is ASL Citizen's."""
    return table.has("participant_id", "video_file", "gloss")


def _record(row: Row, split: str, listing: Listing) -> ClipRecord:
    video, gloss = row.get("video_file"), gloss_name(row.get("gloss"))
    if not video or not gloss:
        raise ValueError("Video file and Gloss must not be empty; complete the row")
    return ClipRecord(
        gloss=gloss,
        split=split,
        signer=row.get("participant_id") or None,
        **listing.locate(video, split=split),
    )
