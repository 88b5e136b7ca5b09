"""A manifest that `slrtune data index` wrote: its rows, looked up again on this disk."""

from __future__ import annotations

from dataclasses import replace

from slrtune.data.formats.files import NO_SUCH_FILE
from slrtune.data.formats.listing import Listing
from slrtune.data.manifest import FOUND, MISSING, OK, ClipRecord, read_manifest


def index_manifest(listing: Listing) -> list[ClipRecord]:
    """Its rows in its order. Those without a file are looked for anew; what else could not be
    used then is not tried again.

    Raises:
        UserError: no manifest, or one of another version.
    """
    return [_looked_up(record, listing) for record in read_manifest(listing.file)]


def _looked_up(record: ClipRecord, listing: Listing) -> ClipRecord:
    if record.status not in (OK, FOUND, MISSING):
        return record
    if record.status == MISSING:
        # PHOENIX keeps the images of a clip in <name>/1
        place = listing.locate(record.path, f"{record.path}/1", split=record.split)
        return replace(record, **place)
    if (listing.root / record.path).exists():
        return replace(record, status=FOUND, reason="")
    return replace(record, status=MISSING, reason=NO_SUCH_FILE)
