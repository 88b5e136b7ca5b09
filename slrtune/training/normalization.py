"""From the pixels of a batch to what every model takes; the same for training and prediction."""

from __future__ import annotations

import torch
from torch import Tensor

from slrtune.data.loader import ClipBatch

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def model_inputs(batch: ClipBatch) -> Tensor:
    """Normalised frames (B, T, C, H, W) of a batch, or its cached features (B, T, F)."""
    return normalize_frames(batch.frames) if batch.frames.dtype == torch.uint8 else batch.frames


def normalize_frames(frames: Tensor) -> Tensor:
    """Pixels to zero mean and unit variance by ImageNet's statistics.

    Done on the device: uint8 is a quarter of the transfer.

    Args:
        frames: uint8 (B, T, 3, H, W), RGB.

    Returns:
        float32 of the same shape.
    """
    normalized = frames.to(torch.float32)
    # numbers rather than tensors: copying a tensor to the GPU would wait for it in every batch
    for channel, (mean, std) in enumerate(zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)):
        normalized[:, :, channel].sub_(255.0 * mean).div_(255.0 * std)
    return normalized
