"""The list of clips: one row per clip, with its status, kept as Parquet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from slrtune.config.errors import UserError

MANIFEST_VERSION = 1
FOUND, OK, MISSING, UNREADABLE, TOO_SHORT = "found", "ok", "missing", "unreadable", "too_short"
"""found: the file is there, not yet decoded. ok: usable. The others carry a reason."""


@dataclass(frozen=True)
class ClipRecord:
    """One clip. Its number, the clip id, is its place in the manifest, from 0.

    Attributes:
        path: relative to the data's root; a video file or a folder of images.
        gloss: recognition label.
        split: such as ``train``, spelled as in the data.
        signer: the person; None where the data do not say.
        start_frame: first frame of the sign, from 0; None = from the beginning.
        end_frame: frame after the last; None = to the end.
        num_frames: frames of the whole file that decode; None until decoded.
        status: one of ``found``, ``ok``, ``missing``, ``unreadable``, ``too_short``.
        reason: why the clip is not usable; empty otherwise.
    """

    path: str
    gloss: str
    split: str
    signer: str | None = None
    start_frame: int | None = None
    end_frame: int | None = None
    num_frames: int | None = None
    fps: float | None = None
    width: int | None = None
    height: int | None = None
    status: str = FOUND
    reason: str = ""

    @property
    def is_usable(self) -> bool:
        """Whether the clip was decoded and can be trained on."""
        return self.status == OK


_SCHEMA = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),
        pa.field("gloss", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("signer", pa.string()),
        pa.field("start_frame", pa.int64()),
        pa.field("end_frame", pa.int64()),
        pa.field("num_frames", pa.int64()),
        pa.field("fps", pa.float64()),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("status", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
    ],
    metadata={"slrtune_manifest_version": str(MANIFEST_VERSION)},
)


def write_manifest(path: Path, records: Sequence[ClipRecord]) -> None:
    """Write all rows under a temporary name, then rename: a reader never sees half a manifest."""
    partial = path.with_name(path.name + ".partial")
    table = pa.Table.from_pylist([asdict(record) for record in records], schema=_SCHEMA)
    pq.write_table(table, partial)
    partial.replace(path)


def read_manifest(path: Path) -> tuple[ClipRecord, ...]:
    """All rows, in clip id order.

    Raises:
        UserError: no manifest, or one of another version.
    """
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise UserError(f"{path}: must be a slrtune manifest (Parquet), but {error}") from error
    found = (table.schema.metadata or {}).get(b"slrtune_manifest_version", b"none").decode()
    if found != str(MANIFEST_VERSION):
        raise UserError(
            f"{path}: manifest version must be {MANIFEST_VERSION}, but is {found}; "
            "delete its folder and prepare the data again"
        )
    return tuple(ClipRecord(**row) for row in table.to_pylist())
