"""Per-frame landmarks (such as MediaPipe's, .npy) that lie in a folder of their own.

Shapes: T frames, K landmarks of D numbers, H W pixels of the packed pictures.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from slrtune.config.data import DataConfig
from slrtune.config.errors import UserError
from slrtune.data.changes import Change
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


@dataclass(frozen=True)
class PackedPicture:
    """What a packed picture is of its video.

    Attributes:
        video_px: width and height of the video.
        crop: left, top, right, bottom of the packed part in pixels of the video.
        height: of the packed picture; ``width`` likewise.
    """

    video_px: tuple[int, int]
    crop: tuple[int, int, int, int]
    height: int
    width: int


def keypoints_in_view(
    points: np.ndarray, picture: PackedPicture, change: Change, config: DataConfig
) -> Tensor:
    """Landmarks where the model sees them: cropped, rotated and mirrored as its pictures are.

    Args:
        points: (T, K, D) in `data.keypoints_unit` of the video; only x and y are used. Not found
            are those that are not finite, or 0, 0, as MediaPipe's users write it.
        change: of the clip; ``Change()`` for the view of validation.

    Returns:
        Float32 (T, K, 2): x and y from 0, the left and upper edge, to 1. NaN for landmarks that
        were not found or are not in the view.
    """
    places = points[..., :2].astype(np.float64)
    is_found = np.isfinite(places).all(axis=-1) & (places != 0).any(axis=-1)
    if config.keypoints_unit == "fraction":
        places *= picture.video_px
    left, top, right, bottom = picture.crop
    places -= left, top
    places *= picture.width / (right - left), picture.height / (bottom - top)
    matrix = change.source(picture.height, picture.width)
    seen = (places - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T
    with np.errstate(invalid="ignore"):
        is_found &= ((seen >= 0) & (seen <= 1)).all(axis=-1)
    seen[~is_found] = np.nan
    if change.is_flipped:
        for one, other in config.keypoint_swaps:
            seen[:, [one, other]] = seen[:, [other, one]]
    return torch.from_numpy(seen.astype(np.float32))
