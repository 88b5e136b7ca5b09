"""Which clips there are, by folder or annotation file, without decoding any."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from slrtune.config.data import DataConfig
from slrtune.config.errors import UserError
from slrtune.data.class_folders import index_class_folders, index_label_table
from slrtune.data.manifest import ClipRecord
from slrtune.data.wlasl import index_wlasl

LABEL_TABLE = "labels.csv"


def index_clips(config: DataConfig, root: Path) -> tuple[ClipRecord, ...]:
    """Every clip that folders or annotations list, in an order that depends on nothing else.

    A listed clip whose file is absent gets the status ``missing``.

    Args:
        root: folder of the videos; for ``fingerspelling`` where they were rendered.

    Raises:
        UserError: no such folder, no clip in it, or an annotation file that breaks its format.
    """
    if not root.is_dir():
        raise UserError(f"data.root: must be a folder, but {root} is none; correct the path")
    if config.source == "wlasl":
        if config.annotations is None:
            raise UserError("data.annotations: must be given for data.source wlasl")
        records = index_wlasl(root, config.annotations)
    else:
        table = config.annotations or root / LABEL_TABLE
        has_table = config.annotations is not None or table.is_file()
        records = index_label_table(root, table) if has_table else index_class_folders(root)
    if not records:
        raise UserError(
            f"data.root: must hold clips, but none was found in {root}; expected "
            "<split>/<gloss>/<clip> or <gloss>/<clip>, a clip being a video or a folder of images"
        )
    _refuse_duplicates(records, config.annotations or root)
    return tuple(records)


def _refuse_duplicates(records: list[ClipRecord], source: Path) -> None:
    times_listed = Counter((r.path, r.start_frame, r.end_frame) for r in records)
    (path, _, _), times = times_listed.most_common(1)[0]
    if times > 1:
        splits = sorted({r.split for r in records if r.path == path})
        raise UserError(
            f"{source}: a clip must be listed once, but {path} is listed {times} times "
            f"(splits {', '.join(splits)}); keep one of them"
        )
