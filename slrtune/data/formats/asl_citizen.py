"""ASL Citizen (Desai et al. 2023): `splits/train.csv`, `val.csv`, `test.csv` of the release.

Columns `Participant ID, Video file, Gloss, ASL-LEX Code`; videos lie in `videos/`. The split is in
the file's name.
"""

from __future__ import annotations

from slrtune.data.formats.listing import Listing, refuse
from slrtune.data.formats.names import gloss_name, split_of_file
from slrtune.data.formats.table import Table, read_table
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
    records, mistakes = [], []
    for row in table.rows:
        video, gloss = row.get("video_file"), gloss_name(row.get("gloss"))
        if not video or not gloss:
            mistakes.append(f"{row.line}: Video file and Gloss must not be empty; complete the row")
            continue
        place = listing.locate(video, split=split)
        records.append(ClipRecord(gloss=gloss, split=split, signer=row.get("participant_id") or None, **place))  # fmt: skip  # noqa: E501
    refuse(listing.file, mistakes)
    return records


def looks_like_asl_citizen(table: Table) -> bool:
    """Whether a header is ASL Citizen's."""
    return table.has("participant_id", "video_file", "gloss")
