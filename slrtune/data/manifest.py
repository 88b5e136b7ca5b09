"""The list of clips: one row per clip, with its status, kept as Parquet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from slrtune.config.errors import UserError

MANIFEST_VERSION = 2
FOUND, OK = "found", "ok"
MISSING, UNREADABLE, TOO_SHORT = "missing", "unreadable", "too_short"
OUT_OF_RANGE, DUPLICATE = "out_of_range", "duplicate"
"""found: the file is there, not yet decoded. ok: usable. The others carry a reason: no such file;
it cannot be decoded; fewer frames than a clip needs; its frames or seconds lie outside the file;
listed a second time."""

Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


@dataclass(frozen=True)
class ClipRecord:
    """One clip. Its number, the clip id, is its place in the manifest, from 0.

    Attributes:
        path: relative to the data's root; a video file or a folder of images.
        gloss: recognition label; empty where the data have sentences only.
        split: such as ``train``, spelled as in the data.
        signer: the person; None where the data do not say.
        sentence: translation text; None where the data have glosses only.
        label_id: number of the class in the data's own list of classes; None without such a list.
        start_frame: first frame of the sign, from 0; None = from the beginning.
        end_frame: frame after the last; None = to the end.
        start_s, end_s: the same in seconds, where the data say it so; never beside frames.
        box: of the signer, in ``box_unit``; None = the whole picture.
        box_unit: ``px``, or ``fraction`` of the width and height.
        keypoints: per-frame landmarks (.npy), relative to the data's root.
        num_frames: frames of the whole file that decode; None until decoded.
        content_hash: of the file's bytes; None until read.
        status: ``found``, ``ok``, ``missing``, ``unreadable``, ``too_short``, ``out_of_range`` or
            ``duplicate``.
        reason: why the clip is not usable; empty otherwise.
    """

    path: str
    gloss: str
    split: str
    signer: str | None = None
    sentence: str | None = None
    label_id: int | None = None
    start_frame: int | None = None
    end_frame: int | None = None
    start_s: float | None = None
    end_s: float | None = None
    box: Box | None = None
    box_unit: Literal["px", "fraction"] | None = None
    keypoints: str | None = None
    num_frames: int | None = None
    fps: float | None = None
    width: int | None = None
    height: int | None = None
    content_hash: str | None = None
    status: str = FOUND
    reason: str = ""

    @property
    def is_usable(self) -> bool:
        """Whether the clip was decoded and can be trained on."""
        return self.status == OK

    def box_px(self, width: int, height: int) -> Box | None:
        """The signer's box in pixels of a picture of that size."""
        if self.box is None or self.box_unit == "px":
            return self.box
        left, top, right, bottom = self.box
        return left * width, top * height, right * width, bottom * height

    def frame_window(self, fps: float | None) -> tuple[int | None, int | None]:
        """Start and end frame (end exclusive), seconds counted in frames of ``fps``: an estimate
        where the frame rate varies, see `window.clip_window` for the frames that are used.

        None = the file's own beginning or end; seconds of a file without a rate are not cut.
        """
        if self.start_s is None and self.end_s is None:
            return self.start_frame, self.end_frame
        if fps is None:
            return None, None
        start = None if self.start_s is None else round(self.start_s * fps)
        return start, None if self.end_s is None else round(self.end_s * fps)


_SCHEMA = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),
        pa.field("gloss", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("signer", pa.string()),
        pa.field("sentence", pa.string()),
        pa.field("label_id", pa.int32()),
        pa.field("start_frame", pa.int64()),
        pa.field("end_frame", pa.int64()),
        pa.field("start_s", pa.float64()),
        pa.field("end_s", pa.float64()),
        pa.field("box", pa.list_(pa.float64())),
        pa.field("box_unit", pa.string()),
        pa.field("keypoints", pa.string()),
        pa.field("num_frames", pa.int64()),
        pa.field("fps", pa.float64()),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("content_hash", pa.string()),
        pa.field("status", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
    ],
    metadata={"slrtune_manifest_version": str(MANIFEST_VERSION)},
)


def write_manifest(path: Path, records: Sequence[ClipRecord]) -> None:
    """Write all rows under a temporary name, then rename: a reader never sees half a manifest."""
    partial = path.with_name(path.name + ".partial")
    columns = {
        field.name: [getattr(record, field.name) for record in records]
        for field in fields(ClipRecord)
    }
    pq.write_table(pa.table(columns, schema=_SCHEMA), partial)
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
            "delete it and index or prepare the data again"
        )
    columns = [table.column(field.name).to_pylist() for field in fields(ClipRecord)]
    boxes = [field.name for field in fields(ClipRecord)].index("box")
    columns[boxes] = [None if box is None else tuple(box) for box in columns[boxes]]
    return tuple(ClipRecord(*row) for row in zip(*columns, strict=True))
