"""One clip of a manifest to what a pack keeps of it: window, thinning, crop, resize, landmarks.

Shapes: T' packed frames of H' x W' pixels, K landmarks of D numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch

from slrtune.data.content_hash import hash_content
from slrtune.data.manifest import OK, UNREADABLE, ClipRecord
from slrtune.data.pack.parameters import PackParameters
from slrtune.data.pack.shard import PackedClip
from slrtune.data.resize import channels_first, channels_last, resize_short_side
from slrtune.data.sampling import thin
from slrtune.data.video import Timeline, VideoError, VideoInfo, read
from slrtune.data.window import clip_window, status_of

_SIZE_TOLERANCE = 1.02
"""A box that reaches further beyond the picture was drawn in a picture of another size."""


@dataclass(frozen=True)
class DecodedClip:
    """A clip as it is packed, and the facts of its file."""

    info: VideoInfo
    clip: PackedClip


def attempt_clip(
    root: Path, record: ClipRecord, parameters: PackParameters
) -> tuple[ClipRecord, PackedClip | None]:
    """Decode a clip; the record says how it went. What is wrong with a clip is never an error."""
    try:
        decoded = decode_clip(root, record, parameters)
        content_hash = record.content_hash or hash_content(root / record.path)
    except VideoError as error:
        return replace(record, status=status_of(error), reason=error.reason), None
    except OSError as error:  # the file went away, or its disk fails
        reason = f"cannot be read ({error.strerror or error})"
        return replace(record, status=UNREADABLE, reason=reason), None
    info = decoded.info
    ok = replace(
        record,
        num_frames=info.num_frames,
        fps=info.fps,
        width=info.width,
        height=info.height,
        content_hash=content_hash,
        status=OK,
    )
    return ok, decoded.clip


def decode_clip(root: Path, record: ClipRecord, parameters: PackParameters) -> DecodedClip:
    """The frames of a clip as a pack keeps them (before any JPEG).

    Raises:
        VideoError: the file or its landmarks are not usable; or the clip in them:
            `window.clip_window` says how.
    """
    chosen: list[int] = []

    def choose(timeline: Timeline) -> Sequence[int]:
        first, last = clip_window(record, timeline)
        chosen[:] = thin(first, last, parameters.max_frames).tolist()
        return chosen

    info, frames = read(root / record.path, choose)
    crop = (0, 0, info.width, info.height)
    if parameters.crop_margin is not None:
        crop = signer_crop(record, info.width, info.height, parameters.crop_margin)
    left, top, right, bottom = crop
    cropped = channels_first(torch.from_numpy(frames))[..., top:bottom, left:right]
    resized = channels_last(resize_short_side(cropped, parameters.size_px)).numpy()
    points = read_keypoints(root, record, info.num_frames)
    source_frames = np.array(chosen, np.int32)
    return DecodedClip(
        info,
        PackedClip(resized, source_frames, crop, None if points is None else points[source_frames]),
    )


def signer_crop(
    record: ClipRecord, width: int, height: int, margin: float
) -> tuple[int, int, int, int]:
    """Left, top, right, bottom in pixels of a square around the signer's box, as far as it fits.

    A square, because the model sees the centre square of what is packed: of a tall box it would
    lose head and hands' lower space. It is moved, not cut, where it would leave the picture.
    A record without a box, or with one that was drawn in a picture of another size, gives the
    whole picture.

    Args:
        margin: room on each side, as a share of the box's longer side.
    """
    box = record.box_px(width, height)
    if box is None:
        return 0, 0, width, height
    left, top, right, bottom = box
    is_of_another_size = right > _SIZE_TOLERANCE * width or bottom > _SIZE_TOLERANCE * height
    if is_of_another_size or right - left < 1 or bottom - top < 1:
        return 0, 0, width, height
    side = max(right - left, bottom - top) * (1 + 2 * margin)
    x0, x1 = _span((left + right) / 2, side, width)
    y0, y1 = _span((top + bottom) / 2, side, height)
    return x0, y0, x1, y1


def _span(centre: float, side: float, available: int) -> tuple[int, int]:
    length = min(round(side), available)
    start = min(max(round(centre - length / 2), 0), available - length)
    return start, start + length


def read_keypoints(root: Path, record: ClipRecord, num_frames: int) -> np.ndarray | None:
    """Landmarks float32 (N, K, D) of each of the file's N frames; None where none are listed.

    Raises:
        VideoError: no such file, no array of numbers, or another number of frames.
    """
    if record.keypoints is None:
        return None
    try:
        points = np.load(root / record.keypoints, allow_pickle=False)
    except (OSError, ValueError, EOFError, BadZipFile, MemoryError) as error:
        raise VideoError(f"keypoints {record.keypoints} cannot be read ({error})") from error
    if not isinstance(points, np.ndarray) or points.dtype.kind not in "fiu":
        raise VideoError(f"keypoints {record.keypoints}: must be one array of real numbers")
    with np.errstate(over="ignore"):
        points = points.astype(np.float32)
    if points.ndim not in (2, 3) or len(points) != num_frames:
        raise VideoError(
            f"keypoints {record.keypoints}: must have a row for each of {num_frames} frames, but "
            f"the shape is {points.shape}"
        )
    return points.reshape(num_frames, *(points.shape[1:] if points.ndim == 3 else (-1, 1)))
