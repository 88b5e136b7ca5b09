"""A video file's packets: how many pictures, when, where decoding may start. Nothing is decoded.

Packets tell the truth that headers do not: a header of a truncated file still claims every frame.
FFmpeg's demuxers skip over what they cannot read and only log it, so their log is read too.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np

from slrtune.data.timeline import Timeline, VideoError
from slrtune.data.transport_stream import lost_packets

av.logging.set_level(av.logging.WARNING)  # so that `av.logging.Capture` hears of damage
av.logging.set_skip_repeated(False)
logging.getLogger("libav").addHandler(logging.NullHandler())
logging.getLogger("libav").propagate = False

_CONTAINERS = frozenset(
    {
        *("mov", "mp4", "matroska", "webm", "avi", "mpegts", "mpeg", "mpegvideo", "asf", "flv"),
        *("ogg", "h264", "hevc", "m4v", "nut", "mxf", "ivf", "gif", "rm", "dv", "obu"),
    }
)
"""FFmpeg demuxers of videos. Others read still images, playlists that point elsewhere, or text."""
_PLAYLISTS = frozenset({"hls", "dash", "concat", "imf"})
_JOINS_MID_STREAM = frozenset({"mpegts", "mpeg"})
"""Recordings of a broadcast: may begin before the first key frame, which players skip to."""
_NO_TIMES = frozenset({"avi", "h264", "hevc", "m4v", "mpegvideo", "obu"})
"""Formats without times of showing; FFmpeg makes up some that are wrong for reordered pictures."""
_HIDDEN_PICTURES = frozenset({"vp8", "mpeg4", "msmpeg4v3"})
"""Codecs with packets that show nothing, so packets are not frames."""
_DAMAGE = re.compile(
    "|".join(
        (
            r"Frame num gap",  # H.264: a picture that others refer to is missing
            r"Could not find ref with POC",  # the same in H.265
            r"invalid as first byte of an EBML number",  # Matroska: a hole
            r"File ended prematurely",
            r"exceeds containing master element",
            r"partial file",
            r"Truncating packet of size",
            r"Packet mismatch",  # FLV: a hole
        )
    )
)
_MAX_PIXELS = 2**26
"""8K is half of it; damaged headers ask for gigabytes per picture."""


@dataclass(frozen=True)
class VideoFile:
    """What the packets say.

    Attributes:
        fps: None where the file is silent.
        start_s: the time of the file's first moment.
        timeline: None where the packets do not tell (no timestamps, or pictures that are not
            shown): then everything must be decoded to know.
        ticks: timestamp of each frame in the stream's own unit, in order of showing.
        entries: (tick, decoding tick) of the key frames at which decoding may start.
        num_told: frames that the packets claim to hold; None where some hold no picture.
        is_plain: 8-bit H.264 4:2:0 with closed groups of pictures in MP4 or Matroska.
    """

    path: Path
    fps: float | None
    start_s: float
    num_told: int | None
    timeline: Timeline | None
    ticks: tuple[int, ...]
    entries: tuple[tuple[int, int], ...]
    is_plain: bool

    def entry_before(self, tick: int) -> tuple[int, int]:
        """The last key frame from which the frame at ``tick`` can be decoded."""
        return max((e for e in self.entries if e[0] <= tick), default=self.entries[0])


@dataclass(frozen=True)
class _Packet:
    pts: int | None
    dts: int | None
    is_key: bool
    is_shown: bool


def scan(path: Path) -> VideoFile:
    """Read all packets of ``path``.

    Raises:
        VideoError: the file is missing, empty, no video, truncated, or parts are lost.
    """
    if not path.is_file():
        raise VideoError("no such file")
    if path.stat().st_size == 0:
        raise VideoError("zero bytes")
    with damage_noticed("not a readable video"), open_video(path) as container:
        stream = video_stream(container)
        packets, is_corrupt = [], False
        for packet in container.demux(stream):
            if packet.size:
                is_corrupt |= packet.is_corrupt
                shown = not packet.is_discard
                packets.append(_Packet(packet.pts, packet.dts, packet.is_keyframe, shown))
        return _judge(path, container, stream, packets, is_corrupt)


def open_video(path: Path) -> Any:
    # files only: a playlist named .mp4 must not make us fetch what it points at
    options = {"protocol_whitelist": "file"}
    # titles and comments are in whatever encoding; they do not matter here
    return av.open(str(path), options=options, metadata_errors="replace")


def open_live(path: Path, is_camera: bool) -> Any:
    """What may never end: a camera's device by the system's own capture format, or a file."""
    return av.open(str(path), format="v4l2") if is_camera else open_video(path)


def video_stream(container: Any) -> Any:
    """The stream that players show, set up to decode alone and to complain of any damage.

    Raises:
        VideoError: there is none.
    """
    names = set(container.format.name.split(","))
    if names & _PLAYLISTS:
        raise VideoError("a playlist, not a video")
    if not names & _CONTAINERS:
        raise VideoError(f"not a video, by its content ({container.format.long_name.lower()})")
    stream = container.streams.best("video")
    if stream is None or stream.disposition & av.stream.Disposition.attached_pic:
        raise VideoError("no video stream")
    context = stream.codec_context
    if context is None:
        raise VideoError("its video codec is unknown")
    context.thread_count = 1  # more do not pay for short clips
    context.options = {"err_detect": "explode", "max_pixels": str(_MAX_PIXELS)}
    return stream


@contextmanager
def damage_noticed(reason: str) -> Iterator[None]:
    """Errors of FFmpeg become VideoErrors for that ``reason``; so does damage it only logs."""
    try:
        with av.logging.Capture() as logs:
            yield
    except (av.FFmpegError, OSError, ValueError, ArithmeticError, MemoryError) as error:
        # beside FFmpeg's own errors, PyAV stumbles over absurd values of damaged headers
        phrase = (getattr(error, "strerror", None) or str(error)).strip().lower()
        raise VideoError(f"{reason} ({phrase})") from error
    lines = [message.strip() for _, _, message in logs if _DAMAGE.search(message)]
    if lines:
        raise VideoError(f"truncated or damaged: parts are missing ({lines[0].lower()})")


def _judge(
    path: Path, container: Any, stream: Any, packets: Sequence[_Packet], is_corrupt: bool
) -> VideoFile:
    formats = set(container.format.name.split(","))
    claimed = stream.frames if formats & {"mov", "mp4"} else 0  # others count lost packets in
    if not packets:
        raise VideoError("no video frames")
    if len(packets) < claimed:
        raise VideoError(f"truncated or damaged: has {len(packets)} of {claimed} frames")
    if is_corrupt:
        raise VideoError("truncated or damaged: a packet is incomplete")
    lost = lost_packets(path, stream.id) if "mpegts" in formats else None
    if lost:
        raise VideoError(f"truncated or damaged: {lost}")
    if not packets[0].is_key:
        if not formats & _JOINS_MID_STREAM:
            raise VideoError("truncated or damaged: does not begin with a key frame")
        first_key = next((i for i, packet in enumerate(packets) if packet.is_key), None)
        if first_key is None:
            raise VideoError("truncated or damaged: has no key frame")
        packets = packets[first_key:]
    packets = [packet for packet in packets if not _leads(packet, packets[0])]
    fps = float(stream.average_rate) if stream.average_rate else None
    start_s = (container.start_time or 0) / av.time_base
    hides_pictures = stream.codec_context.name in _HIDDEN_PICTURES
    num_told = None if hides_pictures else sum(packet.is_shown for packet in packets)
    ticks = sorted(p.pts for p in packets if p.pts is not None and p.is_shown)
    has_times = not formats & _NO_TIMES and all(p.pts is not None for p in packets)
    if hides_pictures or not has_times or not ticks or len(ticks) > len(set(ticks)):
        return VideoFile(path, fps, start_s, num_told, None, (), (), False)
    entries = _entries(packets)
    is_plain = bool(
        stream.codec_context.name == "h264"
        and formats & {"mov", "matroska"}
        and stream.codec_context.pix_fmt in ("yuv420p", "yuvj420p")
        and all(packet.is_shown for packet in packets)
        and len(entries) == sum(packet.is_key for packet in packets)
    )
    times_s = np.array(ticks, np.float64) * float(stream.time_base) - start_s
    timeline = Timeline(len(ticks), times_s)
    return VideoFile(path, fps, start_s, num_told, timeline, tuple(ticks), entries, is_plain)


def _leads(packet: _Packet, first: _Packet) -> bool:
    """Whether it is shown before the first key frame, on which it leans: not decodable."""
    if packet.pts is None or first.pts is None:
        return False
    return packet.is_shown and first.is_shown and packet.pts < first.pts


def _entries(packets: Sequence[_Packet]) -> tuple[tuple[int, int], ...]:
    """Key frames that no later packet is shown before (closed groups of pictures)."""
    entries: list[tuple[int, int]] = []
    earliest_later = float("inf")
    for packet in reversed(packets):
        assert packet.pts is not None
        if packet.is_key and packet.pts < earliest_later:
            entries.append((packet.pts, packet.pts if packet.dts is None else packet.dts))
        earliest_later = min(earliest_later, packet.pts)
    return tuple(reversed(entries)) or ((packets[0].pts or 0, packets[0].dts or 0),)
