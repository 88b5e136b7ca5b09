"""What changes a clip before the model sees it; the same draw for all frames of a clip.

Written out instead of torchvision.transforms.v2: rotation, crop, resize and flip are one affine
map, so one bilinear sampling does them all, and jitter is one 3x3 matrix on the colours. That is
three to five times as fast and blurs once.
Shapes: T frames, C = 3 channels, H W pixels, S = image_size.
"""

from __future__ import annotations

from math import cos, radians, sin, sqrt

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from slrtune.config.data import AugmentationConfig
from slrtune.data.resize import resize_short_side, square_crop

_ASPECT_RATIO_MAX = 1.1
_ALIASING_FACTOR = 1.5
"""The affine sampling does not antialias: pictures larger than this times S are reduced first."""
_LUMA = torch.tensor([0.299, 0.587, 0.114])  # ITU-R BT.601, as torchvision's saturation


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
    if min(frames.shape[-2:]) > _ALIASING_FACTOR * image_size:
        frames = resize_short_side(frames, round(_ALIASING_FACTOR * image_size))
    floats = sample_affine(frames, draw_affine(frames, config, rng), image_size)
    if config.color_jitter:
        low, high = 1 - config.color_jitter, 1 + config.color_jitter
        brightness, contrast, saturation = rng.uniform(low, high, size=3)
        floats = jitter_colors(floats, brightness, contrast, saturation)
    return floats.round_().clamp_(0, 255).to(torch.uint8)


def draw_affine(frames: Tensor, config: AugmentationConfig, rng: np.random.Generator) -> Tensor:
    """Random resized crop (Szegedy et al. 2015), rotation and flip as one (2, 3) matrix.

    It maps output to input positions, both from -1 to 1 across the picture. The crop lies inside
    the centre square, which is what validation sees; a rotated one may reach beyond it.
    """
    height, width = frames.shape[-2:]
    short = min(height, width)
    scale = rng.uniform(config.crop_scale_min, 1.0)
    ratio = _ASPECT_RATIO_MAX ** rng.uniform(-1.0, 1.0)
    crop_w = min(short * sqrt(scale * ratio), short)
    crop_h = min(short * sqrt(scale / ratio), short)
    shift_x, shift_y = (short - crop_w) * rng.uniform(-1, 1), (short - crop_h) * rng.uniform(-1, 1)
    angle = radians(config.rotation_degrees) * rng.uniform(-1.0, 1.0)
    mirror = -1.0 if config.use_horizontal_flip and rng.random() < 0.5 else 1.0
    return torch.tensor(
        [
            [mirror * crop_w / width * cos(angle), -crop_h / width * sin(angle), shift_x / width],
            [mirror * crop_w / height * sin(angle), crop_h / height * cos(angle), shift_y / height],
        ]
    )


def sample_affine(frames: Tensor, affine: Tensor, image_size: int) -> Tensor:
    """uint8 (T, C, H, W), (2, 3) -> float32 (T, C, S, S) in 0..255; edges are repeated outside."""
    num_frames, channels, height, width = frames.shape
    grid = functional.affine_grid(affine[None], [1, 1, image_size, image_size], align_corners=False)
    # frames as channels of one picture: the sampling weights are worked out once
    stacked = frames.contiguous(memory_format=torch.contiguous_format).float()
    stacked = stacked.view(1, num_frames * channels, height, width)
    sampled = functional.grid_sample(
        stacked, grid, mode="bilinear", padding_mode="border", align_corners=False
    )
    return sampled.view(num_frames, channels, image_size, image_size)


def jitter_colors(floats: Tensor, brightness: float, contrast: float, saturation: float) -> Tensor:
    """Brightness, then contrast around the clip's mean grey, then saturation; 1.0 = unchanged.

    Args:
        floats: (T, C, S, S) in 0..255; values beyond are left for the caller to clamp.
    """
    mean_grey = (floats.mean(dim=(0, 2, 3)) @ _LUMA).item()
    mix = saturation * torch.eye(3) + (1 - saturation) * _LUMA.expand(3, 3)
    flat = floats.flatten(2)
    offset = (1 - contrast) * brightness * mean_grey
    return torch.matmul(contrast * brightness * mix, flat).add_(offset).view_as(floats)
