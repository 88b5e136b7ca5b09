"""Per-frame landmarks (such as MediaPipe's, .npy) that lie in a folder of their own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from slrtune.config.data import DataConfig
from slrtune.config.errors import UserError
from slrtune.data.manifest import ClipRecord
from slrtune.data.video import VIDEO_SUFFIXES


def with_keypoints(
    records: Sequence[ClipRecord], root: Path, config: DataConfig
) -> list[ClipRecord]:
    """The records with the arrays that are there: ``keypoints/<path of the clip>.npy``.

    Raises:
        UserError: ``data.keypoints`` is no folder.
    """
    if config.keypoints is None:
        return list(records)
    folder = config.keypoints.expanduser()
    if not folder.is_dir():
        raise UserError(f"data.keypoints: must be a folder, but {folder} is none; correct the path")
    return [replace(record, keypoints=_array_of(record, folder, root)) for record in records]


def _array_of(record: ClipRecord, folder: Path, root: Path) -> str | None:
    path = Path(record.path)
    name = path.stem if path.suffix.lower() in VIDEO_SUFFIXES else path.name
    file = folder / path.parent / f"{name}.npy"
    if record.keypoints or not file.is_file():
        return record.keypoints
    return Path(os.path.relpath(file, root)).as_posix()
