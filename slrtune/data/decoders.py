"""Packets to pictures, by decord or by PyAV. Both give identical pixels.

PyAV decodes in strict mode first. It stops at damage that libraries cover up by default: they
repeat a frame, or smear one picture over the next. decord cannot tell, so it is given what PyAV
found sound, and of that only plain H.264. Elsewhere it gives wrong frames without a word: it seeks
wrong in MPEG-4 and MPEG-2, repeats frames in MPEG-TS, AVI and FLV, turns mirrored pictures, and
makes other pixels of 10 bits.
A bit that flips inside a picture and still makes sense to its codec is beyond any decoder.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from slrtune.data.timeline import ChooseFrames, Timeline, VideoError, stack_frames
from slrtune.data.video_file import VideoFile, damage_noticed, open_video, video_stream

try:
    import decord
except ImportError:  # not built for every platform; PyAV reads all that decord reads
    decord = None
else:
    decord.logging.set_level(decord.logging.QUIET)

MAX_DECODE_S = 300.0
"""Longest time for one pass over a file: damage can make one that decodes for ever."""
MAX_CLIP_GIB = 8.0
"""Most memory for the chosen frames of one clip, at full size."""
_DAMAGED = "truncated or damaged"


class UntoldError(Exception):
    """Decoding gives other frames than the packets told."""


def decode_told(file: VideoFile, indices: Sequence[int]) -> np.ndarray:
    """Frames of a file whose timeline is known: uint8 (T, H, W, 3), in the order asked for.

    Only what lies between the key frame before the first and the last of them is decoded.

    Raises:
        VideoError: damage on the way.
        UntoldError: the packets did not tell which frames there are after all.
    """
    wanted = sorted(set(indices))
    if decord is not None and file.is_plain and _is_upright(file, wanted[0], wanted[-1]):
        frames = _by_decord(file, wanted)
        if frames is not None:
            return frames if wanted == indices else frames[np.searchsorted(wanted, indices)]
    kept: dict[int, np.ndarray] = {}
    for index, frame in _shown_between(file, wanted[0], wanted[-1]):
        if index in wanted:
            _keep(kept, index, frame, len(wanted))
    return stack_frames([kept[index] for index in indices])


def decode_untold(file: VideoFile, choose: ChooseFrames) -> tuple[Timeline, np.ndarray]:
    """Timeline and chosen frames of a file that must be decoded from end to end to know them.

    Raises:
        VideoError: damage anywhere.
    """
    timeline = untold_timeline(file)
    indices = list(choose(timeline))
    wanted, kept = set(indices), dict[int, np.ndarray]()
    for index, frame in _all_shown(file):
        if index in wanted:
            _keep(kept, index, frame, len(wanted))
    return timeline, stack_frames([kept[index] for index in indices])


def untold_timeline(file: VideoFile) -> Timeline:
    """The timeline that decoding the whole file tells.

    Raises:
        VideoError: damage anywhere.
    """
    times = [frame.time for _, frame in _all_shown(file)]
    if file.num_told is not None and len(times) != file.num_told:
        raise VideoError(f"{_DAMAGED}: decodes {len(times)} of {file.num_told} frames")
    if None not in times and all(a < b for a, b in pairwise(times)):
        return Timeline(len(times), np.array(times) - file.start_s)
    # AVI has no times of showing, but a constant rate
    return Timeline(len(times), np.arange(len(times)) / file.fps if file.fps else None)


def _shown_between(file: VideoFile, first: int, last: int) -> Iterator[tuple[int, Any]]:
    """Index and PyAV frame of each frame from ``first`` to ``last`` and perhaps some before."""
    entry_tick, entry_dts = file.entry_before(file.ticks[first])
    index_of = {tick: index for index, tick in enumerate(file.ticks)}
    due = {tick for tick in file.ticks[: last + 1] if tick >= entry_tick}
    shown_before = None
    for frame in _decode(file, None if entry_tick == file.entries[0][0] else entry_dts, entry_tick):
        if frame.pts is None or (shown_before is not None and frame.pts <= shown_before):
            raise UntoldError  # decoders give pictures in order of showing: the times are wrong
        shown_before = frame.pts
        if frame.pts in due:
            due.remove(frame.pts)
            yield index_of[frame.pts], frame
            if not due:
                return
        elif frame.pts not in index_of:
            raise UntoldError
    if due:
        raise VideoError(f"{_DAMAGED}: frame {index_of[min(due)]} cannot be decoded")


def _all_shown(file: VideoFile) -> Iterator[tuple[int, Any]]:
    num_frames = 0
    for frame in _decode(file, None, None):
        yield num_frames, frame
        num_frames += 1
    if not num_frames:
        raise VideoError(f"{_DAMAGED}: no frame can be decoded")


def _decode(file: VideoFile, seek_to: int | None, entry_tick: int | None) -> Iterator[Any]:
    """Frames as they come, from ``seek_to`` on (a decoding tick) or the file's first key frame."""
    deadline = time.monotonic() + MAX_DECODE_S
    num_frames, has_begun = 0, False
    with damage_noticed(_DAMAGED), open_video(file.path) as container:
        stream = video_stream(container)
        if seek_to is not None:
            container.seek(seek_to, stream=stream)
        for packet in container.demux(stream):
            if time.monotonic() > deadline:
                raise VideoError(f"decoding takes longer than {MAX_DECODE_S:.0f} s")
            if packet.size and not has_begun:
                if not packet.is_keyframe:
                    continue
                has_begun = True
                if seek_to is not None and (packet.pts is None or packet.pts > entry_tick):
                    break  # the container's index led beyond: from the start, then
            if packet.size and _leads(packet, file):
                continue
            for frame in packet.decode():
                if frame.is_corrupt:
                    raise VideoError(f"{_DAMAGED} near frame {num_frames}")
                num_frames += 1
                yield frame
        else:
            return
    yield from _decode(file, None, None)


def _leads(packet: Any, file: VideoFile) -> bool:
    is_early = file.ticks and packet.pts is not None and packet.pts < file.ticks[0]
    return bool(is_early and not packet.is_discard)  # an edit list's are decoded, not shown


def _by_decord(file: VideoFile, wanted: Sequence[int]) -> np.ndarray | None:
    try:
        reader = decord.VideoReader(str(file.path), ctx=decord.cpu(0), num_threads=1)
        if len(reader) == len(file.ticks):
            return np.asarray(reader.get_batch(wanted).asnumpy())
    except Exception:  # bare RuntimeErrors: pictures 16, 24, 48 or 72 pixels wide, and others
        pass
    return None


def _is_upright(file: VideoFile, first: int, last: int) -> bool:
    """Whether all frames on the way are as decord takes them to be. Raises for damage."""
    looks = {
        (frame.width, frame.height, _matrix(frame))
        for _, frame in _shown_between(file, first, last)
    }
    return len(looks) == 1 and next(iter(looks))[2] is None


def _keep(kept: dict[int, np.ndarray], index: int, frame: Any, num_wanted: int) -> None:
    gib = num_wanted * frame.width * frame.height * 3 / 2**30
    if gib > MAX_CLIP_GIB:
        raise VideoError(
            f"{num_wanted} frames of {frame.width}x{frame.height} take {gib:.1f} GiB, "
            f"more than {MAX_CLIP_GIB:.0f}"
        )
    kept[index] = upright_pixels(frame)


def upright_pixels(frame: Any) -> np.ndarray:
    """A PyAV frame as a player shows it: uint8 (H, W, 3) RGB."""
    return _upright(frame.to_ndarray(format="rgb24"), _matrix(frame))


def _matrix(frame: Any) -> tuple[int, int, int, int] | None:
    """(a, b, c, d) of the display matrix: x' = ax + cy, y' = bx + dy. None = as it is stored."""
    side_data = frame.side_data.get("DISPLAYMATRIX")
    if side_data is None:
        return None
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(side_data))
    return a, b, c, d


def _upright(pixels: np.ndarray, matrix: tuple[int, int, int, int] | None) -> np.ndarray:
    """(H, W, 3) turned and mirrored as a player shows it."""
    if matrix is None:
        return pixels
    a, b, c, d = matrix
    if b == c == 0 and a and d:
        mirrors = a < 0, d < 0
    elif a == d == 0 and b and c:
        pixels, mirrors = pixels.swapaxes(0, 1), (c < 0, b < 0)
    else:
        raise VideoError("is shown at an angle that is no quarter turn")
    pixels = pixels[:, ::-1] if mirrors[0] else pixels
    return pixels[::-1] if mirrors[1] else pixels
