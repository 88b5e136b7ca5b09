"""The one resize of the project: antialiased bilinear, so cache, validation and serving agree.

Shapes: T frames, C channels, H W pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def resize_short_side(frames: Tensor, size_px: int) -> Tensor:
    """uint8 (T, C, H, W) -> uint8 (T, C, H', W') with min(H', W') = size_px, aspect ratio kept.

    Fastest when ``frames`` is a channels-last view of (T, H, W, C) memory; the result is one then.
    """
    height, width = frames.shape[-2:]
    short = min(height, width)
    if short == size_px:
        return frames
    size = [round(height * size_px / short), round(width * size_px / short)]
    return functional.interpolate(frames, size, mode="bilinear", antialias=True)


def square_crop(frames: Tensor, size_px: int, shift: float = 0.0) -> Tensor:
    """A square (T, C, size_px, size_px) of (T, C, H, W); H and W must be at least that.

    Args:
        shift: along both sides from -1, the left or upper edge, over 0, the middle, to 1.
    """
    top, left = (int((1 + shift) * (side - size_px) / 2) for side in frames.shape[-2:])
    return frames[..., top : top + size_px, left : left + size_px]


def channels_first(frames: Tensor) -> Tensor:
    """(T, H, W, C) -> (T, C, H, W), a view in channels-last memory."""
    return frames.permute(0, 3, 1, 2)


def channels_last(frames: Tensor) -> Tensor:
    """(T, C, H, W) -> contiguous (T, H, W, C)."""
    return frames.permute(0, 2, 3, 1).contiguous(memory_format=torch.contiguous_format)
