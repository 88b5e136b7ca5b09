"""Where in its file a sign is."""

from __future__ import annotations

from slrtune.data.manifest import OUT_OF_RANGE, TOO_SHORT, UNREADABLE, ClipRecord
from slrtune.data.video import Timeline, VideoError

MIN_FRAMES = 2
"""A clip of one frame shows no movement: `too_short`."""


class OutOfRangeError(VideoError):
    """The file is sound, but the sign lies outside it."""


class ClipTooShortError(VideoError):
    """The file is sound, but the clip holds fewer than MIN_FRAMES frames."""


def clip_window(record: ClipRecord, timeline: Timeline) -> tuple[int, int]:
    """The frames [first, last) of a clip in its file, at least MIN_FRAMES of them.

    Raises:
        OutOfRangeError: the file ends before the sign, or holds less than half of it.
        ClipTooShortError: fewer than MIN_FRAMES frames.
        VideoError: seconds of a file that has no times.
    """
    if record.start_s is None and record.end_s is None:
        first, last = frame_window(record.start_frame, record.end_frame, timeline.num_frames)
    else:
        first, last = _second_window(record.start_s or 0.0, record.end_s, timeline)
    if last - first < MIN_FRAMES:
        raise ClipTooShortError(f"has {last - first} frame(s), needs at least {MIN_FRAMES}")
    return first, last


def frame_window(start: int | None, end: int | None, num_frames: int) -> tuple[int, int]:
    """The frames [first, last) of a sign in a file of ``num_frames`` frames.

    Annotations count in the original video, but the files may be cut to the sign already, as
    WLASL's preprocess.py leaves them, perhaps at another frame rate. A file about as long as the
    window, no longer than it or ending before it begins, is such a file: all of it is the sign.

    Args:
        start: first frame, from 0; None = the file's first.
        end: frame after the last; None = to the file's end.

    Raises:
        OutOfRangeError: the file ends before the sign, or holds less than half of it.
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
    return first, min(last, num_frames)


def _second_window(start_s: float, end_s: float | None, timeline: Timeline) -> tuple[int, int]:
    """The same for seconds, which always count in the original."""
    first, last = timeline.between(start_s, end_s)
    if timeline.times_s is None or timeline.num_frames < MIN_FRAMES:
        return first, last
    duration_s = float(timeline.times_s[-1] - timeline.times_s[0])
    half_s = 0.0 if end_s is None else (end_s - start_s) / 2
    if first == last == timeline.num_frames or duration_s - start_s < half_s:
        to = "the end" if end_s is None else f"{end_s:g} s"
        raise OutOfRangeError(f"{start_s:g} s to {to} of a file of {duration_s:.2f} s")
    return first, last


def status_of(error: VideoError) -> str:
    """The manifest's word for why a clip cannot be used."""
    if isinstance(error, OutOfRangeError):
        return OUT_OF_RANGE
    return TOO_SHORT if isinstance(error, ClipTooShortError) else UNREADABLE
