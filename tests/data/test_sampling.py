from __future__ import annotations

import numpy as np
import pytest

from slrtune.data.sampling import random_segment, thin, uniform


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
