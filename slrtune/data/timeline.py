"""What is known of a clip's file before its pictures are decoded, and why it may be unusable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

_CLOCK_TOLERANCE_S = 1e-4
"""Annotations round their seconds; a frame this much late is on time."""


class VideoError(Exception):
    """A clip that cannot be used. ``reason`` is one phrase for a person."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __reduce__(self) -> tuple[type[VideoError], tuple[str]]:
        return type(self), (self.reason,)


@dataclass(frozen=True)
class VideoInfo:
    """What can really be decoded. ``fps`` is None for image folders and where the file is silent;
    width and height are those of the upright picture."""

    num_frames: int
    fps: float | None
    width: int
    height: int


@dataclass(frozen=True)
class Timeline:
    """When each frame of a clip's file is shown.

    Attributes:
        num_frames: N, as many as can be decoded.
        times_s: float64 (N,), rising: seconds from the file's start, as a player shows them. Real
            timestamps, so also right for a variable frame rate. None where nothing says
            (image folders).
    """

    num_frames: int
    times_s: np.ndarray | None

    def between(self, start_s: float | None, end_s: float | None) -> tuple[int, int]:
        """The frames [first, last) on screen from ``start_s`` up to ``end_s``; None = the edge.

        The frame on screen at ``start_s`` is the first; one that appears at ``end_s`` is not in.
        Empty (first == last) where the window lies outside of the file.

        Raises:
            VideoError: seconds of a file that has no times.
        """
        if start_s is None and end_s is None:
            return 0, self.num_frames
        if self.times_s is None:
            raise VideoError("has no times, so its clips are given by frames, not by seconds")
        first, last = 0, self.num_frames
        if start_s is not None:
            shown = int(np.searchsorted(self.times_s, start_s + _CLOCK_TOLERANCE_S, "right")) - 1
            first = self.num_frames if start_s >= self._end_s() else max(shown, 0)
        if end_s is not None:
            last = int(np.searchsorted(self.times_s, end_s - _CLOCK_TOLERANCE_S, "left"))
        return first, max(first, last)

    def _end_s(self) -> float:
        """When the last frame disappears, if it stays as long as the others on average."""
        if self.times_s is None or self.num_frames < 2:
            return float("inf")
        first, last = float(self.times_s[0]), float(self.times_s[-1])
        return last + (last - first) / (self.num_frames - 1)


ChooseFrames = Callable[[Timeline], Sequence[int]]
"""Frame indices to decode, in any order, given how many frames there are and when."""


def stack_frames(frames: Sequence[np.ndarray]) -> np.ndarray:
    """uint8 (H, W, 3) each -> (T, H, W, 3).

    Raises:
        VideoError: no frames, or frames that differ in size.
    """
    if not frames:
        raise VideoError("no frame of it is wanted")
    sizes = sorted({f"{frame.shape[1]}x{frame.shape[0]}" for frame in frames})
    if len(sizes) > 1:
        raise VideoError(f"frames differ in size ({', '.join(sizes)})")
    return np.stack(frames)
