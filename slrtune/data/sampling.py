"""Which T of a clip's frames the model sees: segments as in TSN (Wang et al. 2016, section 3.1).

Both cut the clip into T equal segments and take one frame of each, so a clip shorter than T frames
repeats frames and a longer one skips some.
"""

from __future__ import annotations

import numpy as np


def uniform(num_available: int, num_frames: int, view: int = 0, num_views: int = 1) -> np.ndarray:
    """The same place in each segment: int64 (T,), rising, within [0, num_available).

    Args:
        view: which of ``num_views`` sets of frames, from 0; they lie evenly in the segments, the
            one of a single view in their centres.
    """
    place = (view + 0.5) / num_views
    return _one_per_segment(num_available, num_frames, np.full(num_frames, place))


def random_segment(num_available: int, num_frames: int, rng: np.random.Generator) -> np.ndarray:
    """A random frame of each segment: int64 (T,), rising, within [0, num_available)."""
    return _one_per_segment(num_available, num_frames, rng.random(num_frames))


def thin(start: int, end: int, max_frames: int) -> np.ndarray:
    """At most ``max_frames`` of the frames [start, end), evenly, with the first and the last."""
    count = min(end - start, max_frames)
    return np.linspace(start, end - 1, count).round().astype(np.int64)


def _one_per_segment(num_available: int, num_frames: int, where: np.ndarray) -> np.ndarray:
    positions = (np.arange(num_frames) + where) * (num_available / num_frames)
    # rounding of the product may reach num_available itself
    return np.minimum(positions.astype(np.int64), num_available - 1)
