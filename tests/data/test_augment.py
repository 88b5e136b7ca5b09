from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

from slrtune.config.data import AugmentationConfig
from slrtune.data import augment
from slrtune.data.augment import (
    Changes,
    change_clips,
    evaluation_view,
    needed_part,
    pad_together,
    training_view,
)
from slrtune.data.changes import Change, draw_change, draw_crop

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
    clip = torch.zeros(1, 3, 40, 40, dtype=torch.uint8)
    clip[..., :20] = 200
    views = [training_view(clip, 32, config, rng(seed)).float() for seed in range(60)]
    assert 15 < sum(bool(view[..., :8].mean() < view[..., -8:].mean()) for view in views) < 45


def test_the_crop_stays_inside_the_centre_square() -> None:
    config = NOTHING.model_copy(update={"crop_scale_min": 0.3})
    for seed in range(100):
        left, top, right, bottom = draw_crop(config, rng(seed))
        assert 0 <= left < right <= 1 and 0 <= top < bottom <= 1
        assert 0.2 < (right - left) * (bottom - top) <= 1


@pytest.mark.parametrize(("height", "width"), [(40, 80), (80, 40), (41, 41)])
def test_the_crop_is_of_the_centre_square(height: int, width: int) -> None:
    short = min(height, width)
    source = Change(crop=(0.0, 0.5, 0.25, 1.0)).source(height, width)
    (x0, y0), (x1, y1) = source @ [0, 0, 1], source @ [1, 1, 1]
    assert (x0, x1 - x0) == pytest.approx(((width - short) / 2, short / 4))
    assert (y0, y1) == pytest.approx((height / 2, height / 2 + short / 2))


def changed(clip: Tensor, size: int, change: Change) -> Tensor:
    part, part_change = needed_part(clip, size, change)
    return change_clips(part.unsqueeze(0), Changes((part_change,)), size)[0]


@pytest.mark.parametrize(("angle", "is_flipped"), [(17.0, False), (-30.0, True)])
def test_rotation_crop_and_flip_are_those_of_torchvision(angle: float, is_flipped: bool) -> None:
    clip = smooth_clip(2, 60, 80)
    change = Change(crop=(0.1, 0.2, 0.9, 1.0), angle=angle, is_flipped=is_flipped)
    expected = functional.rotate(clip, angle, interpolation=InterpolationMode.BILINEAR)
    expected = functional.resized_crop(expected, 12, 16, 48, 48, [44, 44], antialias=False)
    if is_flipped:
        expected = functional.horizontal_flip(expected)
    errors = (changed(clip, 44, change).float() - expected.float()).abs()
    assert errors.mean() < 1.0
    assert errors[..., 8:-8, 8:-8].max() <= 3  # edges to the black corners are sharper than there


def test_colours_are_those_of_torchvision() -> None:
    clip = smooth_clip()
    expected = functional.adjust_brightness(clip / 255, 1.3)  # floats: it rounds after each of them
    expected = functional.adjust_contrast(expected, 0.6)
    expected = 255 * functional.adjust_saturation(expected, 1.4)
    ours = changed(clip, 40, Change(brightness=1.3, contrast=0.6, saturation=1.4))
    assert (ours.float() - expected).abs().max() < 0.51


EVERYTHING = AugmentationConfig(
    use_horizontal_flip=True, grey_share=0.5, blur_share=0.5, erase_share=0.5
)


def batch_of_sizes(size: int = 32) -> tuple[Tensor, Changes, list[Tensor]]:
    """Clips of different sizes in one batch, with their changes, and each changed alone."""
    clips = [smooth_clip(3, *shape) for shape in ((40, 60), (60, 40), (37, 37), (90, 120))]
    parts = [
        needed_part(clip, size, draw_change(EVERYTHING, rng(i))) for i, clip in enumerate(clips)
    ]
    changes = Changes(tuple(change for _, change in parts))
    alone = [training_view(clip, size, EVERYTHING, rng(i)) for i, clip in enumerate(clips)]
    return pad_together([part for part, _ in parts]), changes, alone


def test_a_batch_is_changed_as_its_clips_are_one_by_one() -> None:
    padded, changes, alone = batch_of_sizes()
    assert torch.equal(change_clips(padded, changes, 32), torch.stack(alone))


def test_resampling_a_padded_batch_at_once_gives_the_same_pixels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    padded, changes, alone = batch_of_sizes()
    monkeypatch.setattr(augment, "_BY_CLIP", frozenset())  # as on a GPU
    errors = (change_clips(padded, changes, 32).int() - torch.stack(alone).int()).abs()
    assert errors.max() <= 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_changes_a_batch_as_the_cpu_does() -> None:
    padded, changes, alone = batch_of_sizes()
    by_gpu = change_clips(padded.pin_memory().cuda(non_blocking=True), changes, 32).cpu()
    errors = (by_gpu.int() - torch.stack(alone).int()).abs()
    assert errors.float().mean() < 0.05  # a pixel on the edge to a black corner may fall either way


@pytest.mark.parametrize("name", ["grey_share", "blur_share", "erase_share"])
def test_a_share_of_the_clips_is_changed(name: str) -> None:
    config = NOTHING.model_copy(update={name: 0.5})
    noise, num_changed = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8), 0
    for seed in range(60):
        plain = training_view(noise, 64, NOTHING, rng(seed))
        num_changed += not torch.equal(training_view(noise, 64, config, rng(seed)), plain)
    assert 10 < num_changed < 45  # the weakest blurs change nothing


def test_a_grey_clip_has_equal_channels() -> None:
    config = NOTHING.model_copy(update={"grey_share": 1.0})
    view = training_view(smooth_clip(), 32, config, rng())
    assert torch.equal(view[:, 0], view[:, 1]) and torch.equal(view[:, 0], view[:, 2])


def test_erasing_paints_one_rectangle_in_all_frames() -> None:
    config = NOTHING.model_copy(update={"erase_share": 1.0})
    for seed in range(20):
        plain = training_view(smooth_clip(), 32, NOTHING, rng(seed)).int()
        view = training_view(smooth_clip(), 32, config, rng(seed)).int()
        place = (view != plain).any(dim=(0, 1))
        rows, columns = place.any(dim=1).nonzero(), place.any(dim=0).nonzero()
        box = (..., slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
        assert 0.01 < place.float().mean() < 0.25
        assert torch.equal(view[box], view[box][:1, :, :1, :1].expand_as(view[box]))


def test_blurring_smooths() -> None:
    noise = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    config = NOTHING.model_copy(update={"blur_share": 1.0})
    for seed in range(5):
        plain = training_view(noise, 64, NOTHING, rng(seed)).float()
        assert training_view(noise, 64, config, rng(seed)).float().std() <= plain.std()


def test_a_view_depends_on_its_generator_alone() -> None:
    config = AugmentationConfig(grey_share=0.5, blur_share=0.5, erase_share=0.5)
    first = training_view(smooth_clip(), 32, config, rng(3))
    torch.manual_seed(99)
    torch.rand(5)
    assert torch.equal(training_view(smooth_clip(), 32, config, rng(3)), first)


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
