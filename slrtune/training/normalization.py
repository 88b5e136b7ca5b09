"""From the pixels of a batch to what every model takes; the same for training and prediction."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from slrtune.data.loader import ClipBatch

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def frame_layout(model: nn.Module) -> torch.memory_format:
    """Channels last for models that keep their convolutions so: else they copy every input."""
    is_channels_last = any(
        parameter.ndim == 4
        and parameter.is_contiguous(memory_format=torch.channels_last)
        and not parameter.is_contiguous()
        for parameter in model.parameters()
    )
    return torch.channels_last if is_channels_last else torch.contiguous_format


def model_inputs(batch: ClipBatch, layout: torch.memory_format) -> Tensor:
    """Normalised frames (B, T, C, H, W) of a batch, or its cached features (B, T, F).

    Args:
        batch: on the device already.
        layout: see :func:`frame_layout`.
    """
    if batch.frames.dtype != torch.uint8:
        return batch.frames
    return normalize_frames(batch.frames, layout)


def normalize_frames(
    frames: Tensor, layout: torch.memory_format = torch.contiguous_format
) -> Tensor:
    """Pixels to zero mean and unit variance by ImageNet's statistics.

    Done on the device: uint8 is a quarter of the transfer, and of rearranging to ``layout``.

    Args:
        frames: uint8 (B, T, 3, H, W), RGB.
        layout: of the pixels of a frame in memory.

    Returns:
        float32 of the same shape.
    """
    pixels = frames.flatten(0, 1).contiguous(memory_format=layout).to(torch.float32)
    pixels.sub_(_per_channel((255.0 * mean for mean in IMAGENET_MEAN), pixels))
    pixels.div_(_per_channel((255.0 * std for std in IMAGENET_STD), pixels))
    return pixels.unflatten(0, frames.shape[:2])


def _per_channel(values: Iterable[float], like: Tensor) -> Tensor:
    """(C, 1, 1). Filled on the device: copying it there would wait for it in every batch."""
    numbers = [like.new_full((1, 1, 1), value) for value in values]
    return torch.cat(numbers)
