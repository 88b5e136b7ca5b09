"""Landmarks lie where their pictures show them, whatever was done to the pictures."""

from __future__ import annotations

import csv
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from slrtune.config.data import AugmentationConfig, DataConfig
from slrtune.data.changes import Change
from slrtune.data.keypoints import PackedPicture, keypoints_in_view
from slrtune.data.loader import ClipBatch, build_loader
from slrtune.data.prepare import prepare_data
from slrtune.data.prepared import PreparedData
from tests.data.videos import encode

WIDTH, HEIGHT, NUM_FRAMES = 96, 64, 12
STRONG = {
    "crop_scale_min": 0.4, "rotation_degrees": 40.0, "use_horizontal_flip": True,
    "color_jitter": 0.0,
}  # fmt: skip


def path_of_a_dot(seed: int) -> np.ndarray:
    """(T, 2): x and y in pixels, on a circle."""
    angles = seed + np.linspace(0, 3, NUM_FRAMES)
    return np.stack([48 + 18 * np.cos(angles), 32 + 18 * np.sin(angles)], axis=1)


def video_of(places: np.ndarray) -> np.ndarray:
    """A bright dot on grey."""
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    near = [np.exp(-((x - px) ** 2 + (y - py) ** 2) / 18) for px, py in places]
    return np.repeat((60 + 190 * np.stack(near))[..., None], 3, axis=3).astype(np.uint8)


@pytest.fixture(scope="module", params=["fraction", "px"])
def prepared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Clips of a dot that is their second landmark; the first is nowhere. One has none at all."""
    root, unit = tmp_path_factory.mktemp("dots"), request.param
    rows: list[tuple[Any, ...]] = [("path", "label", "split", "left", "top", "right", "bottom")]
    for seed in range(8):
        places = path_of_a_dot(seed)
        encode(root / f"{seed}.mp4", video_of(places))
        box = (20, 4, 76, 60) if seed % 2 else ("",) * 4
        rows.append((f"{seed}.mp4", "dot", "val" if seed == 7 else "train", *box))
        points = np.zeros((NUM_FRAMES, 2, 3))
        points[:, 1, :2] = places / ((WIDTH, HEIGHT) if unit == "fraction" else 1)
        if seed:
            np.save(root / f"{seed}.npy", points)
    with (root / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    config = DataConfig(
        source="csv", root=root, cache_dir=root / "cache", keypoints=root, keypoints_unit=unit,
        num_frames=6, image_size=48, augmentation=AugmentationConfig(**STRONG),
    )  # fmt: skip
    return prepare_data(config, num_workers=1)


def batches(prepared: PreparedData, *, is_training: bool) -> list[ClipBatch]:
    loader = build_loader(
        prepared, prepared.config, is_training=is_training, batch_size=7 if is_training else 1,
        micro_batch_size=7 if is_training else 1, seed=3, num_keypoints=2,
    )  # fmt: skip
    found = []
    for epoch in range(4 if is_training else 1):
        loader.set_epoch(epoch)
        found += list(loader)
    return found


def brightest(frames: Tensor) -> Tensor:
    """Where the dot is in uint8 (N, 3, S, S): (N, 2), from 0 to 1."""
    glow = (frames[:, 0].double() - 140).clamp(min=0)
    centres = (torch.arange(frames.shape[-1]) + 0.5) / frames.shape[-1]
    total = glow.sum(dim=(1, 2))
    x, y = (glow.sum(dim=axis) @ centres.double() / total for axis in (1, 2))
    return torch.stack([x, y], dim=1)


@pytest.mark.parametrize("is_training", [True, False])
def test_a_landmark_is_where_its_picture_shows_it(
    prepared: PreparedData, is_training: bool
) -> None:
    num_seen = num_hidden = 0
    for batch in batches(prepared, is_training=is_training):
        assert batch.keypoints is not None and batch.keypoints.shape == (len(batch), 6, 2, 2)
        assert batch.keypoints[:, :, 0].isnan().all()  # 0, 0 means that nobody found it
        assert batch.keypoints[batch.clip_ids == 0].isnan().all()
        points = batch.keypoints[:, :, 1]
        inside = ((points > 0.12) & (points < 0.88)).all(dim=-1)  # a dot that is seen whole
        shown = brightest(batch.frames[inside])
        assert (shown - points[inside]).abs().max() < 0.03
        num_seen += len(shown)
        num_hidden += int(points[batch.clip_ids > 0].isnan().any(dim=-1).sum())
    assert num_seen > (50 if is_training else 2)
    assert num_hidden > 0 or not is_training


def test_the_loader_gives_no_landmarks_unless_it_is_asked(prepared: PreparedData) -> None:
    loader = build_loader(
        prepared, prepared.config, is_training=True, batch_size=7, micro_batch_size=7, seed=0
    )
    assert next(iter(loader)).keypoints is None


def test_left_and_right_change_places_in_a_mirrored_clip() -> None:
    points = np.array([[[0.25, 0.5], [0.75, 0.25], [np.nan, 0.1]]])
    picture = PackedPicture((40, 40), (0, 0, 40, 40), 40, 40)
    for swaps, order in (((), [0, 1, 2]), (((0, 1),), [1, 0, 2])):
        config = DataConfig(keypoint_swaps=swaps)
        seen = keypoints_in_view(points, picture, Change(is_flipped=True), config)
        wanted = torch.tensor([[0.75, 0.5], [0.25, 0.25], [np.nan, np.nan]])[order]
        torch.testing.assert_close(seen[0], wanted.float(), equal_nan=True)
