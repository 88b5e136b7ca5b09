from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from slrtune.config.data import DataConfig
from slrtune.data.sampling import (
    choose_training_frames,
    dense_strided,
    drop_frames,
    random_segment,
    random_start,
    thin,
    uniform,
)


def test_uniform_takes_the_centre_of_each_segment() -> None:
    assert uniform(16, 4).tolist() == [2, 6, 10, 14]
    assert uniform(10, 4).tolist() == [1, 3, 6, 8]
    assert uniform(5, 5).tolist() == [0, 1, 2, 3, 4]


def test_views_lie_evenly_in_the_segments_and_a_single_one_is_the_centre() -> None:
    assert [uniform(24, 4, view, 3).tolist() for view in range(3)] == [
        [1, 7, 13, 19],
        [3, 9, 15, 21],
        [5, 11, 17, 23],
    ]
    for num_available in (1, 3, 8, 31, 64):
        frames = [uniform(num_available, 8, view, 5) for view in range(5)]
        assert frames[2].tolist() == uniform(num_available, 8).tolist()
        assert (np.diff(np.stack(frames), axis=0) >= 0).all()
        assert all(each.min() >= 0 and each.max() < num_available for each in frames)


def test_a_short_clip_repeats_frames_evenly() -> None:
    assert uniform(2, 6).tolist() == [0, 0, 0, 1, 1, 1]
    assert uniform(1, 3).tolist() == [0, 0, 0]


@pytest.mark.parametrize("num_available", [1, 3, 8, 9, 31, 64])
def test_random_segment_takes_one_frame_of_each_segment(num_available: int) -> None:
    rng = np.random.default_rng(0)
    draws = np.stack([random_segment(num_available, 8, rng) for _ in range(300)])
    edges = np.arange(9) * num_available / 8
    assert (draws >= np.floor(edges[:-1])).all()
    assert (draws < np.ceil(edges[1:])).all()
    assert set(draws.ravel().tolist()) == set(range(num_available))  # none is out of reach
    assert (np.diff(draws) >= 0).all()


def test_thinning_keeps_first_last_and_the_number() -> None:
    assert thin(10, 15, 64).tolist() == [10, 11, 12, 13, 14]
    assert thin(0, 100, 4).tolist() == [0, 33, 66, 99]
    assert thin(0, 9, 1).tolist() == [0]


def draws(sample: Callable[[np.random.Generator], np.ndarray], count: int = 300) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.stack([sample(rng) for _ in range(count)])


def test_dense_strided_takes_every_second_frame_from_any_start() -> None:
    frames = draws(lambda rng: dense_strided(40, 8, 2, rng))
    assert (np.diff(frames) == 2).all()
    assert set(frames[:, 0].tolist()) == set(range(26))  # the last start shows frame 39


@pytest.mark.parametrize("num_available", [1, 3, 8, 15])
def test_a_clip_too_short_for_the_stride_is_seen_as_a_whole(num_available: int) -> None:
    for frames in draws(lambda rng: dense_strided(num_available, 8, 4, rng)):
        assert (np.diff(frames) >= 0).all()
        gaps = np.diff([-1, *frames.tolist(), num_available])
        assert gaps.max() <= 1 + np.ceil(num_available / 8)


def test_random_start_without_jitter_and_speed_is_dense_strided() -> None:
    rng = np.random.default_rng(0)
    assert (np.diff(random_start(60, 8, 3, rng)) == 3).all()


@pytest.mark.parametrize("num_available", [1, 5, 16, 64])
def test_jitter_and_speed_keep_the_order_and_the_clip(num_available: int) -> None:
    frames = draws(lambda rng: random_start(num_available, 8, 3, rng, jitter=1.0, speed=1.0))
    assert frames.min() >= 0 and frames.max() < num_available
    assert (np.diff(frames) >= 0).all()
    assert len({tuple(row) for row in frames.tolist()}) > (100 if num_available == 64 else 0)


def test_speed_makes_the_window_longer_and_shorter() -> None:
    frames = draws(lambda rng: random_start(100, 8, 4, rng, speed=0.5))
    spans = frames[:, -1] - frames[:, 0]
    assert spans.min() < 28 / 1.4 and spans.max() > 28 * 1.4
    assert spans.min() >= 28 / 1.5 - 1 and spans.max() <= 28 * 1.5 + 1


def test_a_dropped_frame_leaves_the_one_before_on_screen() -> None:
    frames = draws(lambda rng: drop_frames(np.arange(0, 32, 2), 0.25, rng))
    assert (frames[:, 0] == 0).all() and (np.diff(frames) >= 0).all()
    assert 0.2 < (frames != np.arange(0, 32, 2)).mean() * 16 / 15 < 0.3


@pytest.mark.parametrize("strategy", ["random_segment", "uniform", "dense_strided", "random_start"])
def test_the_frames_of_a_sample_depend_on_its_generator_alone(strategy: str) -> None:
    config = DataConfig.model_validate(
        {"train_sampling": strategy, "num_frames": 8, "sampling": {"frame_drop_share": 0.2}}
    )
    for num_available in (1, 7, 64):
        first, again = (
            choose_training_frames(num_available, config, np.random.default_rng(5))
            for _ in range(2)
        )
        assert first.dtype == np.int64 and first.shape == (8,)
        assert first.tolist() == again.tolist()
        assert first.min() >= 0 and first.max() < num_available
