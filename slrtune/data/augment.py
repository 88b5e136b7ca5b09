"""Pixels as validation sees them, and as training does: changed at random, clip by clip.

Training pictures are changed by the batch, on the device where they are: a GPU where there is one,
else the CPU of the loader. Rotation, crop, resize and flip are one resampling. torchvision's
functions take one factor or angle for all that they are given; here every clip has its own, by the
same formulas (the tests compare).
Shapes: B clips, T frames, C = 3 channels, H W pixels of pictures that may differ in size from clip
to clip, S = image_size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample
from torchvision.transforms.v2 import functional

from slrtune.config.data import AugmentationConfig
from slrtune.data.changes import Change, draw_change
from slrtune.data.resize import resize_short_side, square_crop

_SPARE_FACTOR, _REDUCED_FACTOR = 1.25, 1.15
"""A crop with more than this times S pixels is reduced first, lest the resampling alias."""
_MAX_VALUES = {"cpu": 2**22, "cuda": 2**25}
"""Numbers changed at once: what the cache holds, or no more memory than a training step frees."""
_BY_CLIP = frozenset({"cpu"})
"""Where many small calls cost nothing, but another batch must not change a clip's rounding."""
_FAR_OUTSIDE = -3.0


def evaluation_view(frames: Tensor, image_size: int, shift: float = 0.0) -> Tensor:
    """uint8 (T, C, H, W) -> (T, C, S, S): short side to S, then a square. Nothing random.

    Args:
        shift: where along the longer side the square lies, from -1 over 0, the middle, to 1.
    """
    return square_crop(resize_short_side(frames, image_size), image_size, shift).contiguous()


def training_view(
    frames: Tensor, image_size: int, config: AugmentationConfig, rng: np.random.Generator
) -> Tensor:
    """uint8 (T, C, H, W) -> uint8 (T, C, S, S), changed at random as ``config`` says."""
    part, change = needed_part(frames, image_size, draw_change(config, rng))
    return change_clips(part.unsqueeze(0), Changes((change,)), image_size)[0]


@dataclass(frozen=True)
class PartChange:
    """A change, and how it reads the part of a picture that it needs.

    Attributes:
        source: float64 (2, 3): (x, y, 1) of the result, 0..1, to pixels of the part.
        height: of the part in pixels; ``width`` likewise.
    """

    change: Change
    source: np.ndarray
    height: int
    width: int


@dataclass(frozen=True)
class Changes:
    """What is still to be done to the clips of a batch; one for each."""

    clips: tuple[PartChange, ...]

    def numbers(self, device: torch.device) -> Tensor:
        """Float32 (B, 11): source matrix, width and height, three colour factors."""
        rows = [
            [
                *clip.source.ravel(), clip.width, clip.height,
                clip.change.brightness, clip.change.contrast, clip.change.saturation,
            ]
            for clip in self.clips
        ]  # fmt: skip
        numbers = torch.tensor(rows, dtype=torch.float32)
        if device.type == "cuda":
            numbers = numbers.pin_memory()
        return numbers.to(device, non_blocking=True)


def needed_part(frames: Tensor, image_size: int, change: Change) -> tuple[Tensor, PartChange]:
    """The part (T, C, H', W') of (T, C, H, W) that a change shows, reduced if it is far too large.

    Returns:
        A view of ``frames`` where nothing had to be reduced.
    """
    short = min(frames.shape[-2:])
    left, top, right, bottom = change.crop
    crop_px = min(right - left, bottom - top) * short
    if crop_px > _SPARE_FACTOR * image_size:
        frames = resize_short_side(frames, ceil(short * _REDUCED_FACTOR * image_size / crop_px))
    height, width = frames.shape[-2:]
    x0, y0, x1, y1 = change.source_box(height, width)
    source = change.source(height, width)
    source[:, 2] -= x0, y0
    return frames[..., y0:y1, x0:x1], PartChange(change, source, y1 - y0, x1 - x0)


def pad_together(parts: Sequence[Tensor]) -> Tensor:
    """Clips uint8 (T, C, H', W') of several sizes in one (B, T, C, H, W), in channels-last memory.

    Whatever lies beyond a part is never looked at.
    """
    height, width = (max(part.shape[axis] for part in parts) for axis in (-2, -1))
    num_frames, channels = parts[0].shape[:2]
    padded = torch.zeros(len(parts), num_frames, height, width, channels, dtype=torch.uint8)
    for clip, part in zip(padded, parts, strict=True):
        clip[:, : part.shape[-2], : part.shape[-1]] = part.permute(0, 2, 3, 1)
    return padded.permute(0, 1, 4, 2, 3)


def change_clips(pictures: Tensor, changes: Changes, image_size: int) -> Tensor:
    """uint8 (B, T, C, H, W), see `pad_together` -> uint8 (B, T, C, S, S), on the same device."""
    num_clips, num_frames, channels, height, width = pictures.shape
    values_per_clip = num_frames * channels * max(height * width, image_size**2)
    size = max(_MAX_VALUES[pictures.device.type] // values_per_clip, 1)
    changed = pictures.new_empty(num_clips, num_frames, channels, image_size, image_size)
    numbers = changes.numbers(pictures.device)
    for start in range(0, num_clips, size):
        some = slice(start, start + size)
        clips = changes.clips[some]
        frames = _moved(pictures[some], numbers[some], clips, image_size)
        _recolor(frames, numbers[some, 8:], clips)
        for one, clip in zip(frames, clips, strict=True):
            _blur_and_erase(one, clip.change)
        changed[some] = frames.round_()
    return changed


def _moved(pictures: Tensor, numbers: Tensor, clips: Sequence[PartChange], size: int) -> Tensor:
    """Float (b, T, C, S, S), 0..255: rotated, cropped, resized and flipped in one resampling."""
    num_clips, num_frames, channels, height, width = pictures.shape
    sizes = numbers[:, None, None, 6:8]
    centres = (torch.arange(size, device=pictures.device) + 0.5) / size
    sources = numbers[:, :6].view(-1, 1, 1, 2, 3)
    places = (
        sources[..., 0] * centres[:, None]
        + sources[..., 1] * centres[:, None, None]
        + sources[..., 2]
    )
    # a pixel's colour reaches to its edge; beyond the picture it is black
    is_inside = ((places >= 0) & (places <= sizes)).all(dim=-1, keepdim=True)
    places = places.clamp(torch.full_like(sizes, 0.5), sizes - 0.5)
    is_alone = pictures.device.type in _BY_CLIP
    grid = places * (2 / (sizes if is_alone else places.new_tensor([width, height]))) - 1
    grid = grid.where(is_inside, grid.new_full((), _FAR_OUTSIDE))
    if not is_alone:
        return _resampled(pictures, grid)
    moved = torch.empty(num_clips, num_frames, channels, size, size)
    for number, clip in enumerate(clips):
        one = slice(number, number + 1)
        moved[one] = _resampled(pictures[one, ..., : clip.height, : clip.width], grid[one])
    return moved


def _resampled(pictures: Tensor, grid: Tensor) -> Tensor:
    # frames as channels of one picture, so that the sampling weights are worked out once
    stacked = pictures.to(torch.float32, memory_format=torch.contiguous_format).flatten(1, 2)
    resampled = grid_sample(stacked, grid, mode="bilinear", align_corners=False)
    return resampled.unflatten(1, pictures.shape[1:3])


def _recolor(frames: Tensor, factors: Tensor, clips: Sequence[PartChange]) -> None:
    """In place: torchvision's adjust_brightness, _contrast and _saturation, by clip."""
    brightness, contrast, saturation = factors[:, :, None, None, None, None].unbind(dim=1)
    changes = [clip.change for clip in clips]
    if any(change.brightness != 1 for change in changes):
        frames.mul_(brightness).clamp_(0, 255)
    if any(change.contrast != 1 for change in changes):
        means = functional.rgb_to_grayscale(frames).mean(dim=(-3, -2, -1), keepdim=True)
        frames.mul_(contrast).add_(means.mul_(1 - contrast)).clamp_(0, 255)
    if any(change.saturation != 1 for change in changes):
        grey = functional.rgb_to_grayscale(frames)
        frames.mul_(saturation).add_(grey.mul_(1 - saturation)).clamp_(0, 255)


def _blur_and_erase(frames: Tensor, change: Change) -> None:
    """In place, float (T, C, S, S)."""
    size = frames.shape[-1]
    if change.blur_sigma:
        sigma = change.blur_sigma * size
        kernel_px = 2 * ceil(2 * sigma) + 1
        frames.copy_(functional.gaussian_blur(frames, [kernel_px] * 2, [sigma] * 2))
    if change.erased is not None:
        left, top, right, bottom = change.erased
        height = max(1, round((bottom - top) * size))
        width = max(1, round((right - left) * size))
        y, x = (int(low * size) for low in (top, left))
        mean = frames.mean(dim=(0, 2, 3))[:, None, None]
        functional.erase(frames, y, x, height, width, mean, inplace=True)
