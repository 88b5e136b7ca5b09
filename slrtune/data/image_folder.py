"""Clips that are folders of images, one per frame."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from slrtune.data.timeline import ChooseFrames, Timeline, VideoError, VideoInfo, stack_frames

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})


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


def image_timeline(folder: Path) -> Timeline:
    """As many frames as there are images; no times.

    Raises:
        VideoError: there are none.
    """
    files = image_files(folder)
    if not files:
        raise VideoError("a folder without images")
    return Timeline(len(files), None)


def read_images(folder: Path, choose: ChooseFrames) -> tuple[VideoInfo, np.ndarray]:
    """Facts and chosen frames of a folder of images: uint8 (T, H, W, 3) RGB.

    Raises:
        VideoError: there are no images, or a chosen one cannot be read.
    """
    timeline, files = image_timeline(folder), image_files(folder)
    frames = stack_frames([_read_image(files[index]) for index in choose(timeline)])
    return VideoInfo(len(files), None, frames.shape[2], frames.shape[1]), frames


def _read_image(file: Path) -> np.ndarray:
    try:
        with warnings.catch_warnings():
            # Pillow only warns of a picture whose header claims an absurd size
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file) as image:
                return np.asarray(image.convert("RGB"))
    except Exception as error:  # Pillow's plug-ins raise anything on damaged files
        raise VideoError(f"image {file.name} cannot be read ({error})") from error


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".")
