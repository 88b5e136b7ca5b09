"""Real video files for tests: small, and every frame differs from every other."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
from PIL import Image


def picture(index: int, width: int = 48, height: int = 32, shade: int = 0) -> np.ndarray:
    """uint8 (H, W, 3): a gradient, with a bright column that moves one pixel per frame."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    frame = np.stack([x * 3 + shade, y * 4 + shade, np.full_like(x, 40 + shade)], axis=-1)
    frame[:, index % width] = 230
    return frame.astype(np.uint8)


def write_video(
    path: Path,
    num_frames: int = 12,
    *,
    width: int = 48,
    height: int = 32,
    shade: int = 0,
    options: dict[str, str] | None = None,
) -> Path:
    frames = np.stack([picture(index, width, height, shade) for index in range(num_frames)])
    return encode(path, frames, options)


def encode(path: Path, frames: np.ndarray, options: dict[str, str] | None = None) -> Path:
    """Write uint8 (T, H, W, 3) as H.264 at 25 fps."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path


def write_half_video(path: Path) -> Path:
    """The index is at the front and whole; half of the pictures are missing."""
    write_video(path, num_frames=79, options={"movflags": "faststart"})
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 3 // 4])
    return path


def write_audio(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        silence = np.zeros((1, 16000), np.float32)
        frame = av.AudioFrame.from_ndarray(silence, format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_images(folder: Path, num_frames: int = 12) -> Path:
    folder.mkdir(parents=True)
    for index in range(num_frames):
        Image.fromarray(picture(index)).save(folder / f"image_{index}.png")
    return folder
