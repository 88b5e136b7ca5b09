"""Frames as they come: from a camera, a pipe, or a long video that is not to be held in memory."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from slrtune.data.augment import evaluation_view
from slrtune.data.decoders import upright_pixels
from slrtune.data.resize import channels_first, resize_short_side
from slrtune.data.timeline import VideoError
from slrtune.data.video_file import damage_noticed, open_live, video_stream


def live_frames(source: Path) -> Iterator[tuple[float, np.ndarray]]:
    """Seconds since the first frame, and the frame, upright: uint8 (H, W, 3) RGB.

    Args:
        source: a video file, a pipe, or a camera's device such as ``/dev/video0``.

    Raises:
        VideoError: it is missing, no video, or ends in damage; what came before was given.
    """
    source = source.absolute()
    if not source.exists():
        raise VideoError("no such file")
    if source.is_dir():
        raise VideoError("a folder: a stream is a video file, a pipe or a camera's device")
    start_s: float | None = None
    is_camera = stat.S_ISCHR(source.stat().st_mode)
    with damage_noticed("not a readable video"), open_live(source, is_camera) as container:
        stream = container.streams.video[0] if is_camera else video_stream(container)
        for number, frame in enumerate(container.decode(stream)):
            time_s = frame.time
            if time_s is None:  # AVI has no times of showing, but a constant rate
                time_s = number / float(stream.average_rate or 25)
            start_s = time_s if start_s is None else start_s
            yield time_s - start_s, upright_pixels(frame)


def at_constant_rate(
    frames: Iterator[tuple[float, np.ndarray]], interval_s: float
) -> Iterator[np.ndarray]:
    """The frame on screen every ``interval_s``, whatever the rate of the source."""
    due, shown = 0, None
    for time_s, frame in frames:
        while shown is not None and due * interval_s < time_s:
            yield shown
            due += 1
        shown = frame
    if shown is not None:
        yield shown


def model_view(frame: np.ndarray, packed_px: int, image_size: int) -> Tensor:
    """A frame (H, W, 3) as validation sees it: uint8 (C, S, S)."""
    pixels = channels_first(torch.from_numpy(np.ascontiguousarray(frame))[None])
    return evaluation_view(resize_short_side(pixels, packed_px), image_size)[0]
