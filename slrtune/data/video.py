"""A clip's file (video or folder of images) to frames. The only door to decord and PyAV.

PyAV opens every file first: it names what is wrong with it. Frames come from decord where it can
(half PyAV's time on short clips), else from PyAV. Both give identical pixels.
A reader is opened, read and closed within one call: one that is open while the process forks hangs
in the child. One thread per reader; more do not pay.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

try:
    import decord
except ImportError:  # not built for every platform; PyAV reads all that decord reads
    decord = None
else:
    decord.logging.set_level(decord.logging.QUIET)
av.logging.set_level(None)

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".wmv", ".flv"}
)
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})
_CLOCK_TOLERANCE_S = 1e-4
"""Annotations round their seconds; a frame this much late is on time."""
_PLAYLISTS = frozenset({"hls", "dash", "concat", "imf"})


class VideoError(Exception):
    """A clip that cannot be used. ``reason`` is one phrase for a person."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __reduce__(self) -> tuple[type[VideoError], tuple[str]]:
        return VideoError, (self.reason,)


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
        times, end_of_file = self.times_s + _CLOCK_TOLERANCE_S, self._end_s()
        first, last = 0, self.num_frames
        if start_s is not None:
            shown = int(np.searchsorted(self.times_s, start_s + _CLOCK_TOLERANCE_S, "right")) - 1
            first = self.num_frames if start_s >= end_of_file else max(shown, 0)
        if end_s is not None:
            last = int(np.searchsorted(times, end_s, "right"))
        return first, max(first, last)

    def _end_s(self) -> float:
        """When the last frame disappears, if it stays as long as the others on average."""
        if self.times_s is None or self.num_frames < 2:
            return float("inf")
        first, last = float(self.times_s[0]), float(self.times_s[-1])
        return last + (last - first) / (self.num_frames - 1)


ChooseFrames = Callable[[Timeline], Sequence[int]]
"""Frame indices to decode, in any order, given how many frames there are and when."""


def probe(path: Path) -> VideoInfo:
    """Facts of a clip. Its last frame is decoded, so a truncated file does not pass.

    Raises:
        VideoError: the file is missing, empty, no video, or truncated.
    """
    return read(path, lambda timeline: [timeline.num_frames - 1])[0]


def decode(path: Path, frame_indices: Sequence[int] | None = None) -> np.ndarray:
    """The chosen frames, or all, as uint8 (T, H, W, 3) RGB.

    Raises:
        VideoError: as in `probe`, or an index outside the clip.
    """

    def choose(timeline: Timeline) -> Sequence[int]:
        if frame_indices is None:
            return range(timeline.num_frames)
        outside = [index for index in frame_indices if not 0 <= index < timeline.num_frames]
        if outside:
            raise VideoError(f"has {timeline.num_frames} frames, no frame {outside[0]}")
        return frame_indices

    return read(path, choose)[1]


def timeline_of(path: Path) -> Timeline:
    """How many frames there are, and when: from the file's packets, without decoding.

    Raises:
        VideoError: as in `probe`, but for damage inside of the pictures.
    """
    path = path.absolute()
    if path.is_dir():
        files = image_files(path)
        if not files:
            raise VideoError("a folder without images")
        return Timeline(len(files), None)
    _check(path)
    return _timeline_pyav(path)


def read(path: Path, choose: ChooseFrames) -> tuple[VideoInfo, np.ndarray]:
    """Facts of a clip and the frames that ``choose`` picks, at least one, in any order.

    Raises:
        VideoError: as in `probe`, or whatever ``choose`` raises.
    """
    path = path.absolute()  # a bare name such as `concat:x` would be read as a protocol
    if path.is_dir():
        return _read_images(path, choose)
    fps = _check(path)
    if decord is not None:
        try:
            num_frames, frames = _read_decord(path, choose)
        except VideoError:
            raise
        except Exception:  # decord raises bare RuntimeErrors; PyAV tells what is really wrong
            num_frames, frames = _read_pyav(path, choose)
    else:
        num_frames, frames = _read_pyav(path, choose)
    return VideoInfo(num_frames, fps, frames.shape[2], frames.shape[1]), frames


def is_image_folder(path: Path) -> bool:
    """Whether ``path`` is a folder with images directly in it: a clip of frames."""
    return path.is_dir() and any(_is_image(entry) for entry in path.iterdir())


def image_files(folder: Path) -> list[Path]:
    """The frames of an image folder, in natural order (2 before 10)."""
    return sorted(filter(_is_image, folder.iterdir()), key=lambda file: natural_key(file.name))


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sorts names as people count: `a2` before `a10`; ties by the exact spelling."""
    parts = re.split(r"([0-9]+)", name)
    numbered = [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts if p]
    return [*numbered, (2, 0, name)]


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".")


def _check(path: Path) -> float | None:
    """Frames per second, or the reason why this is no video."""
    if not path.is_file():
        raise VideoError("no such file")
    if path.stat().st_size == 0:
        raise VideoError("zero bytes")
    try:
        with _open_pyav(path) as container:
            if not container.streams.video:
                raise VideoError("no video stream")
            if container.format.name in _PLAYLISTS:
                raise VideoError("a playlist, not a video")
            rate = container.streams.video[0].average_rate
            return float(rate) if rate else None
    except (av.FFmpegError, OSError) as error:
        raise VideoError(f"not a readable video ({_phrase(error)})") from error


def _open_pyav(path: Path) -> Any:
    # files only: a playlist named .mp4 must not make us fetch what it points at
    return av.open(str(path), options={"protocol_whitelist": "file"})


def _read_decord(path: Path, choose: ChooseFrames) -> tuple[int, np.ndarray]:
    reader = decord.VideoReader(str(path), ctx=decord.cpu(0), num_threads=1)
    num_frames = len(reader)
    return num_frames, reader.get_batch(list(choose(_timeline_pyav(path)))).asnumpy()


def _read_pyav(path: Path, choose: ChooseFrames) -> tuple[int, np.ndarray]:
    num_frames = _count_pyav(path)
    indices = list(choose(_timeline_pyav(path)))
    wanted, kept = set(indices), {}
    with _open_pyav(path) as container:
        for index, frame in enumerate(container.decode(video=0)):
            if index in wanted:
                upright = np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))
                kept[index] = upright
            if index >= max(wanted):
                break
    return num_frames, _stack([kept[index] for index in indices])


def _timeline_pyav(path: Path) -> Timeline:
    with _open_pyav(path) as container:
        stream = container.streams.video[0]
        ticks = sorted(p.pts for p in container.demux(stream) if p.pts is not None)
        start_s = (container.start_time or 0) / av.time_base
        times_s = np.array(ticks, np.float64) * float(stream.time_base) - start_s
    return Timeline(len(ticks), times_s)


def _count_pyav(path: Path) -> int:
    num_frames, num_claimed, cause = 0, 0, ""
    try:
        with _open_pyav(path) as container:
            num_claimed = container.streams.video[0].frames  # 0 where the container does not say
            for _ in container.decode(video=0):
                num_frames += 1
    except av.FFmpegError as error:
        cause = _phrase(error)
    if cause or num_frames == 0:
        claimed = (
            f"{num_frames} of {num_claimed}" if num_claimed else f"only the first {num_frames}"
        )
        raise VideoError(
            f"truncated or damaged: decodes {claimed} frames" + f" ({cause})" * bool(cause)
        )
    return num_frames


def _read_images(folder: Path, choose: ChooseFrames) -> tuple[VideoInfo, np.ndarray]:
    files = image_files(folder)
    if not files:
        raise VideoError("a folder without images")
    frames = []
    for index in choose(Timeline(len(files), None)):
        try:
            with Image.open(files[index]) as image:
                frames.append(np.asarray(image.convert("RGB")))
        except Exception as error:  # Pillow's plug-ins raise anything on damaged files
            raise VideoError(f"image {files[index].name} cannot be read ({error})") from error
    stacked = _stack(frames)
    return VideoInfo(len(files), None, stacked.shape[2], stacked.shape[1]), stacked


def _stack(frames: list[np.ndarray]) -> np.ndarray:
    sizes = sorted({f"{frame.shape[1]}x{frame.shape[0]}" for frame in frames})
    if len(sizes) > 1:
        raise VideoError(f"frames differ in size ({', '.join(sizes)})")
    return np.stack(frames)


def _phrase(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).strip().lower()
