"""What changes a clip before the model sees it; the same draw for all frames of a clip.

Which change, and how much, comes from the sample's own generator, never from torch's global one;
torchvision's functional transforms do the work, on the device where the frames are.
Shapes: T frames, C = 3 channels, H W pixels, S = image_size.
"""

from __future__ import annotations

from math import ceil, sqrt

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

from slrtune.config.data import AugmentationConfig
from slrtune.data.resize import resize_short_side, square_crop

_ASPECT_RATIO_MAX = 1.1
_SPARE_FACTOR = 1.5
"""Rotating costs by the pixel: pictures larger than this times S are reduced first."""
_ERASED_SHARES = (0.02, 0.2)
_ERASED_RATIO_MAX = 3.0
_BLUR_SIGMAS = (0.1, 2.0)
"""For S = 224, as SimCLR (Chen et al. 2020, appendix A); scaled for others."""


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
    if min(frames.shape[-2:]) > _SPARE_FACTOR * image_size:
        frames = resize_short_side(frames, round(_SPARE_FACTOR * image_size))
    frames = _move(frames, image_size, config, rng)
    frames = _recolor(frames, config, rng)
    if config.blur_share and rng.random() < config.blur_share:
        sigma = rng.uniform(*_BLUR_SIGMAS) * image_size / 224
        kernel_px = 2 * ceil(2 * sigma) + 1
        frames = functional.gaussian_blur(frames, [kernel_px, kernel_px], [sigma, sigma])
    if config.erase_share and rng.random() < config.erase_share:
        frames = _erase(frames, rng)
    return frames.contiguous()


def draw_crop(
    height: int, width: int, config: AugmentationConfig, rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """A random resized crop (Szegedy et al. 2015): top, left, height, width in pixels.

    It lies inside the centre square, which is what validation sees.
    """
    short = min(height, width)
    scale = rng.uniform(config.crop_scale_min, 1.0)
    ratio = _ASPECT_RATIO_MAX ** rng.uniform(-1.0, 1.0)
    crop_w = max(1, min(round(short * sqrt(scale * ratio)), short))
    crop_h = max(1, min(round(short * sqrt(scale / ratio)), short))
    top = (height - short) // 2 + int(rng.integers(short - crop_h + 1))
    left = (width - short) // 2 + int(rng.integers(short - crop_w + 1))
    return top, left, crop_h, crop_w


def _move(
    frames: Tensor, image_size: int, config: AugmentationConfig, rng: np.random.Generator
) -> Tensor:
    if config.rotation_degrees:
        angle = config.rotation_degrees * rng.uniform(-1.0, 1.0)
        # before the crop, so that the black corners are mostly cut off; frames as channels of one
        # picture, so that the sampling weights are worked out once
        stacked = frames.contiguous(memory_format=torch.contiguous_format).flatten(0, 1)
        stacked = functional.rotate(stacked, angle, interpolation=InterpolationMode.BILINEAR)
        frames = stacked.view_as(frames)
    top, left, height, width = draw_crop(frames.shape[-2], frames.shape[-1], config, rng)
    size = [image_size, image_size]
    frames = functional.resized_crop(frames, top, left, height, width, size, antialias=True)
    frames = frames.contiguous(memory_format=torch.contiguous_format)
    if config.use_horizontal_flip and rng.random() < 0.5:
        frames = functional.horizontal_flip(frames)
    return frames


def _recolor(frames: Tensor, config: AugmentationConfig, rng: np.random.Generator) -> Tensor:
    if config.color_jitter:
        low, high = 1 - config.color_jitter, 1 + config.color_jitter
        brightness, contrast, saturation = rng.uniform(low, high, size=3)
        frames = functional.adjust_brightness(frames, brightness)
        frames = functional.adjust_contrast(frames, contrast)
        frames = functional.adjust_saturation(frames, saturation)
    if config.grey_share and rng.random() < config.grey_share:
        frames = functional.rgb_to_grayscale(frames, num_output_channels=3)
    return frames


def _erase(frames: Tensor, rng: np.random.Generator) -> Tensor:
    """A rectangle in the clip's mean colour (Zhong et al. 2017), at one place for all frames."""
    size = frames.shape[-1]
    area = rng.uniform(*_ERASED_SHARES) * size * size
    ratio = _ERASED_RATIO_MAX ** rng.uniform(-1.0, 1.0)
    height = max(1, min(round(sqrt(area * ratio)), size))
    width = max(1, min(round(sqrt(area / ratio)), size))
    top, left = int(rng.integers(size - height + 1)), int(rng.integers(size - width + 1))
    mean = frames.float().mean(dim=(0, 2, 3)).to(frames.dtype)
    return functional.erase(frames, top, left, height, width, mean[:, None, None])
