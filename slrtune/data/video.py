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


ChooseFrames = Callable[[int], Sequence[int]]
"""Frame indices to decode, given how many frames there are."""


def probe(path: Path) -> VideoInfo:
    """Facts of a clip. Its last frame is decoded, so a truncated file does not pass.

    Raises:
        VideoError: the file is missing, empty, no video, or truncated.
    """
    return read(path, lambda num_frames: [num_frames - 1])[0]


def decode(path: Path, frame_indices: Sequence[int] | None = None) -> np.ndarray:
    """The chosen frames, or all, as uint8 (T, H, W, 3) RGB.

    Raises:
        VideoError: as in `probe`, or an index outside the clip.
    """

    def choose(num_frames: int) -> Sequence[int]:
        if frame_indices is None:
            return range(num_frames)
        outside = [index for index in frame_indices if not 0 <= index < num_frames]
        if outside:
            raise VideoError(f"has {num_frames} frames, no frame {outside[0]}")
        return frame_indices

    return read(path, choose)[1]


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
    return num_frames, reader.get_batch(list(choose(num_frames))).asnumpy()


def _read_pyav(path: Path, choose: ChooseFrames) -> tuple[int, np.ndarray]:
    num_frames = _count_pyav(path)
    indices = list(choose(num_frames))
    wanted, kept = set(indices), {}
    with _open_pyav(path) as container:
        for index, frame in enumerate(container.decode(video=0)):
            if index in wanted:
                upright = np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))
                kept[index] = upright
            if index >= max(wanted):
                break
    return num_frames, _stack([kept[index] for index in indices])


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
    for index in choose(len(files)):
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
