from __future__ import annotations

from math import cos, radians, sin

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as reference

from slrtune.config.data import AugmentationConfig
from slrtune.data.augment import (
    draw_affine,
    evaluation_view,
    jitter_colors,
    sample_affine,
    training_view,
)

NOTHING = AugmentationConfig(crop_scale_min=1.0, rotation_degrees=0.0, color_jitter=0.0)


def smooth_clip(num_frames: int = 3, height: int = 40, width: int = 40) -> Tensor:
    torch.manual_seed(0)
    coarse = torch.rand(num_frames, 3, 5, 5) * 255
    return (
        torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic")
        .clamp(0, 255)
        .to(torch.uint8)
    )


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_all_frames_of_a_clip_get_the_same_augmentation() -> None:
    clip = smooth_clip(1, 40, 60).expand(8, -1, -1, -1)
    for seed in range(5):
        view = training_view(clip, 32, AugmentationConfig(use_horizontal_flip=True), rng(seed))
        assert view.shape == (8, 3, 32, 32)
        assert torch.equal(view, view[:1].expand_as(view))


def test_different_draws_give_different_views() -> None:
    views = [training_view(smooth_clip(), 32, AugmentationConfig(), rng(seed)) for seed in range(4)]
    assert not any(torch.equal(views[0], other) for other in views[1:])


def test_nothing_is_flipped_by_default() -> None:
    clip = torch.zeros(1, 3, 40, 40, dtype=torch.uint8)
    clip[..., :20] = 200  # left half bright
    for seed in range(30):
        view = training_view(clip, 32, AugmentationConfig(), rng(seed)).float()
        assert view[..., :8].mean() > view[..., -8:].mean()


def test_half_of_the_clips_are_flipped_on_request() -> None:
    config = NOTHING.model_copy(update={"use_horizontal_flip": True})
    signs = [draw_affine(smooth_clip(), config, rng(seed))[0, 0].sign() for seed in range(60)]
    assert 15 < sum(sign < 0 for sign in signs) < 45


def test_the_crop_stays_inside_the_centre_square() -> None:
    config = NOTHING.model_copy(update={"crop_scale_min": 0.3})
    for seed in range(100):
        affine = draw_affine(torch.zeros(1, 3, 40, 80), config, rng(seed))
        reach = affine[:, :2].abs().sum(dim=1) + affine[:, 2].abs()
        assert reach[0] <= 0.5 + 1e-6  # of twice the square's width
        assert reach[1] <= 1 + 1e-6


def test_the_affine_sampling_rotates_as_torchvision_does() -> None:
    clip, angle = smooth_clip(), radians(10)
    affine = torch.tensor([[cos(angle), -sin(angle), 0], [sin(angle), cos(angle), 0]])
    ours = sample_affine(clip, affine, 40)
    theirs = reference.rotate(clip, 10, interpolation=reference.InterpolationMode.BILINEAR)
    middle = (..., slice(10, 30), slice(10, 30))
    assert (ours[middle] - theirs[middle].float()).abs().max() < 2


def test_the_color_jitter_is_torchvisions() -> None:
    clip = smooth_clip(1)
    bright = reference.adjust_brightness(clip, 1.1)
    expected = reference.adjust_saturation(reference.adjust_contrast(bright, 0.8), 0.7)
    ours = jitter_colors(clip.float(), 1.1, 0.8, 0.7)
    near_white = (clip.float() * 1.1 > 255).any(dim=1, keepdim=True).expand_as(clip)
    assert (ours - expected.float())[~near_white].abs().max() < 3  # they round after each step


def test_no_augmentation_is_a_plain_resize() -> None:
    view = training_view(smooth_clip(), 40, NOTHING, rng()).float()
    # what is left is an aspect ratio within 10 %
    assert (view - smooth_clip().float()).abs().mean() < 15


def test_the_evaluation_view_is_the_middle_of_the_whole_height() -> None:
    clip = smooth_clip(2, 40, 60)
    assert torch.equal(evaluation_view(clip, 40), clip[..., 10:50])
    assert evaluation_view(clip, 20).shape == (2, 3, 20, 20)


@pytest.mark.parametrize("size", [(40, 70), (70, 40), (41, 71)])
def test_pictures_of_any_shape_become_squares(size: tuple[int, int]) -> None:
    clip = smooth_clip(2, *size)
    assert training_view(clip, 17, AugmentationConfig(), rng()).shape == (2, 3, 17, 17)
    assert evaluation_view(clip, 17).shape == (2, 3, 17, 17)


def test_fine_texture_does_not_alias_when_the_cache_is_much_larger() -> None:
    checkers = (torch.arange(160)[:, None] + torch.arange(160)) % 2 * 255
    clip = checkers.to(torch.uint8).expand(1, 3, -1, -1)
    assert training_view(clip, 32, NOTHING, rng()).float().std() < 10
