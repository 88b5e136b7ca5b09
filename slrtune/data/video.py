"""A clip's file (video or folder of images) to frames. The door to decord and PyAV.

A file gives right frames or one clear reason. It is opened, read and closed within one call: a
reader that is open while the process forks hangs in the child. One thread per reader; more do not
pay. What might still crash or hang a decoder does so in this process: whoever must outlive that
(packing, probing, indexing, previews) calls through `workers.map_crash_proof` with a time limit.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from slrtune.data.decoders import UntoldError, decode_told, decode_untold, untold_timeline
from slrtune.data.image_folder import (
    IMAGE_SUFFIXES,
    image_files,
    image_timeline,
    is_image_folder,
    natural_key,
    read_images,
)
from slrtune.data.timeline import ChooseFrames, Timeline, VideoError, VideoInfo
from slrtune.data.video_file import scan

__all__ = [
    "IMAGE_SUFFIXES",
    "VIDEO_SUFFIXES",
    "ChooseFrames",
    "Timeline",
    "VideoError",
    "VideoInfo",
    "decode",
    "image_files",
    "is_image_folder",
    "natural_key",
    "probe",
    "read",
    "timeline_of",
]

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".wmv", ".flv"}
)


def probe(path: Path) -> VideoInfo:
    """Facts of a clip. Its last frame is decoded, so a truncated file does not pass.

    Raises:
        VideoError: the file is missing, empty, no video, or truncated.
    """
    return read(path, lambda timeline: [timeline.num_frames - 1])[0]


def decode(path: Path, frame_indices: Sequence[int] | None = None) -> np.ndarray:
    """The chosen frames, or all, as uint8 (T, H, W, 3) RGB.

    Raises:
        VideoError: as in `read`, or an index outside the clip.
    """
    return read(path, lambda t: range(t.num_frames) if frame_indices is None else frame_indices)[1]


def timeline_of(path: Path) -> Timeline:
    """How many frames there are, and when: from the file's packets, almost always undecoded.

    Raises:
        VideoError: as in `probe`, but for damage inside of the pictures.
    """
    path = path.absolute()
    if path.is_dir():
        return image_timeline(path)
    file = scan(path)
    return file.timeline or untold_timeline(file)


def read(path: Path, choose: ChooseFrames) -> tuple[VideoInfo, np.ndarray]:
    """Facts of a clip and the frames that ``choose`` picks: uint8 (T, H, W, 3) RGB.

    Of a long video only the stretch around them is decoded, from the key frame before the first.

    Args:
        choose: gives at least one frame, in any order. It may be asked twice.

    Raises:
        VideoError: the file is missing, empty, no video, truncated, or damaged on the way to the
            frames; an index is outside of it. And whatever ``choose`` raises.
    """
    path = path.absolute()  # a bare name such as `concat:x` would be read as a protocol
    if path.is_dir():
        return read_images(path, choose)

    def choose_existing(timeline: Timeline) -> Sequence[int]:
        indices = [int(index) for index in choose(timeline)]
        outside = [index for index in indices if not 0 <= index < timeline.num_frames]
        if outside:
            raise VideoError(f"has {timeline.num_frames} frames, no frame {outside[0]}")
        if not indices:
            raise VideoError("no frame of it is wanted")
        return indices

    file = scan(path)
    timeline = file.timeline
    try:
        if timeline is None:
            raise UntoldError
        frames = decode_told(file, choose_existing(timeline))
    except UntoldError:
        timeline, frames = decode_untold(file, choose_existing)
    return VideoInfo(timeline.num_frames, file.fps, frames.shape[2], frames.shape[1]), frames
