"""What is drawn for the augmentation of a clip: numbers, no pixels yet.

Only the sample's own generator decides, never torch's global one, and nothing depends on how large
the picture is or on which device it will be changed: `augment` does that, for whole batches.
Shapes: H W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, cos, floor, radians, sin, sqrt

import numpy as np

from slrtune.config.data import AugmentationConfig

_ASPECT_RATIO_MAX = 1.1
_ERASED_SHARES = (0.02, 0.2)
_ERASED_RATIO_MAX = 3.0
_BLUR_SIGMAS = (0.1, 2.0)
"""For 224 pixels, as SimCLR (Chen et al. 2020, appendix A); scaled for others."""

Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


@dataclass(frozen=True)
class Change:
    """What happens to all frames of a clip, in this order.

    Attributes:
        angle: counter-clockwise rotation about the picture's centre, in degrees.
        crop: what is kept then; of the centre square, whose sides are 0..1.
        is_flipped: mirrored.
        brightness, contrast, saturation: factors, as in torchvision's ``adjust_…``; grey clips have
            saturation 0.
        blur_sigma: in sides of the resulting picture; 0 = not blurred.
        erased: a rectangle that is painted over; of the resulting picture, 0..1.
    """

    crop: Box = (0.0, 0.0, 1.0, 1.0)
    angle: float = 0.0
    is_flipped: bool = False
    brightness: float = 1.0
    contrast: float = 1.0
    saturation: float = 1.0
    blur_sigma: float = 0.0
    erased: Box | None = None

    def source(self, height: int, width: int) -> np.ndarray:
        """Float64 (2, 3): (x, y, 1) of the result, 0..1, to pixels of a picture of H x W."""
        short = min(height, width)
        left, top, right, bottom = self.crop
        if self.is_flipped:
            left, right = right, left
        # of the centre square, from the picture's centre, then turned about it
        across, down = (right - left) * short, (bottom - top) * short
        x0, y0 = (left - 0.5) * short, (top - 0.5) * short
        c, s = cos(radians(self.angle)), sin(radians(self.angle))
        turn = np.array([[c, -s], [s, c]])
        matrix = turn @ np.array([[across, 0.0, x0], [0.0, down, y0]])
        matrix[:, 2] += width / 2, height / 2
        return matrix

    def source_box(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Left, top, right, bottom in pixels of the part of an H x W picture that is shown."""
        corners = self.source(height, width) @ np.array(
            [[0.0, 1.0, 0.0, 1.0], [0.0, 0.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0]]
        )
        (left, top), (right, bottom) = corners.min(axis=1), corners.max(axis=1)
        # with the neighbours that the outermost pixels are mixed with
        return (
            max(floor(left) - 1, 0),
            max(floor(top) - 1, 0),
            min(ceil(right) + 1, width),
            min(ceil(bottom) + 1, height),
        )


def draw_change(config: AugmentationConfig, rng: np.random.Generator) -> Change:
    """One clip's change, as ``config`` says."""
    angle = config.rotation_degrees and config.rotation_degrees * rng.uniform(-1.0, 1.0)
    crop = draw_crop(config, rng)
    is_flipped = config.use_horizontal_flip and rng.random() < 0.5
    low, high = 1 - config.color_jitter, 1 + config.color_jitter
    factors = rng.uniform(low, high, size=3).tolist() if config.color_jitter else [1.0] * 3
    brightness, contrast, saturation = factors
    if config.grey_share and rng.random() < config.grey_share:
        saturation = 0.0
    is_blurred = config.blur_share and rng.random() < config.blur_share
    sigma = rng.uniform(*_BLUR_SIGMAS) / 224 if is_blurred else 0.0
    is_erased = config.erase_share and rng.random() < config.erase_share
    erased = _draw_erased(rng) if is_erased else None
    return Change(crop, angle, is_flipped, brightness, contrast, saturation, sigma, erased)


def draw_crop(config: AugmentationConfig, rng: np.random.Generator) -> Box:
    """A random resized crop (Szegedy et al. 2015) of the centre square, whose sides are 0..1.

    Of that square, because it is what validation sees.
    """
    scale = rng.uniform(config.crop_scale_min, 1.0)
    ratio = _ASPECT_RATIO_MAX ** rng.uniform(-1.0, 1.0)
    return _put(min(sqrt(scale * ratio), 1.0), min(sqrt(scale / ratio), 1.0), rng)


def _draw_erased(rng: np.random.Generator) -> Box:
    """A rectangle of random erasing (Zhong et al. 2017)."""
    area = rng.uniform(*_ERASED_SHARES)
    ratio = _ERASED_RATIO_MAX ** rng.uniform(-1.0, 1.0)
    return _put(min(sqrt(area / ratio), 1.0), min(sqrt(area * ratio), 1.0), rng)


def _put(width: float, height: float, rng: np.random.Generator) -> Box:
    """A rectangle of that size, anywhere in the square of 0..1."""
    top, left = rng.uniform(0.0, 1.0 - height), rng.uniform(0.0, 1.0 - width)
    return left, top, left + width, top + height
