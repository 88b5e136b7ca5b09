"""Where in its file a sign is."""

from __future__ import annotations

from slrtune.data.manifest import OUT_OF_RANGE, TOO_SHORT, UNREADABLE
from slrtune.data.video import VideoError

MIN_FRAMES = 2
"""A clip of one frame shows no movement: `too_short`."""


class OutOfRangeError(VideoError):
    """The file is sound, but the sign lies outside it."""


class ClipTooShortError(VideoError):
    """The file is sound, but the clip holds fewer than MIN_FRAMES frames."""


def clip_window(start: int | None, end: int | None, num_frames: int) -> tuple[int, int]:
    """The frames [first, last) of a sign in a file of ``num_frames`` frames.

    Annotations count in the original video, but the files may be cut to the sign already, as
    WLASL's preprocess.py leaves them, perhaps at another frame rate. A file about as long as the
    window, no longer than it or ending before it begins, is such a file: all of it is the sign.

    Args:
        start: first frame, from 0; None = the file's first.
        end: frame after the last; None = to the file's end.

    Raises:
        OutOfRangeError: the file ends before the sign, or holds less than half of it.
        ClipTooShortError: fewer than MIN_FRAMES frames.
    """
    first, last = start or 0, num_frames if end is None else end
    length = last - first
    if end is not None and 0 < length <= 2 * num_frames:
        is_short = num_frames <= length + 1
        if is_short or (first >= num_frames and num_frames <= 2 * length):
            first, last = 0, num_frames
    if first >= num_frames or (end is not None and num_frames - first < length / 2):
        to = "the end" if end is None else str(end)
        raise OutOfRangeError(f"frames {first} to {to} of a file of {num_frames} frames")
    last = min(last, num_frames)
    if last - first < MIN_FRAMES:
        raise ClipTooShortError(f"has {last - first} frame(s), needs at least {MIN_FRAMES}")
    return first, last


def status_of(error: VideoError) -> str:
    """The manifest's word for why a clip cannot be used."""
    if isinstance(error, OutOfRangeError):
        return OUT_OF_RANGE
    return TOO_SHORT if isinstance(error, ClipTooShortError) else UNREADABLE
