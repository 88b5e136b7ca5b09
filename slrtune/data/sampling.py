"""Which T of a clip's N frames the model sees. All are int64 (T,), within [0, N).

Only these numbers decide, so they depend on the sample's generator alone. A clip that is shorter
than what a strategy looks at is looked at as a whole, evenly, with frames repeated.
"""

from __future__ import annotations

import numpy as np

from slrtune.config.data import DataConfig


def uniform(num_available: int, num_frames: int, view: int = 0, num_views: int = 1) -> np.ndarray:
    """The same place in each of T equal segments (Wang et al. 2016, TSN), rising.

    Args:
        view: which of ``num_views`` sets of frames, from 0; they lie evenly in the segments, the
            one of a single view in their centres.
    """
    place = (view + 0.5) / num_views
    return _one_per_segment(num_available, num_frames, np.full(num_frames, place))


def random_segment(num_available: int, num_frames: int, rng: np.random.Generator) -> np.ndarray:
    """A random frame of each of T equal segments, rising."""
    return _one_per_segment(num_available, num_frames, rng.random(num_frames))


def dense_strided(
    num_available: int, num_frames: int, stride: float, rng: np.random.Generator
) -> np.ndarray:
    """Every ``stride``-th frame from a random start (Carreira and Zisserman 2017), rising."""
    stride = _fitting_stride(num_available, num_frames, stride)
    return _within(num_available, _random_start(num_available, num_frames, stride, rng))


def random_start(
    num_available: int,
    num_frames: int,
    stride: float,
    rng: np.random.Generator,
    *,
    jitter: float = 0.0,
    speed: float = 0.0,
) -> np.ndarray:
    """As `dense_strided`, but signed faster or slower, and not evenly.

    Args:
        jitter: each frame moves by up to this share of half a stride, to either side; up to 1 they
            stay in order.
        speed: the stride is divided or multiplied by up to 1 + ``speed``, both equally likely.
    """
    stride = stride * (1 + speed) ** rng.uniform(-1.0, 1.0)
    stride = _fitting_stride(num_available, num_frames, stride)
    positions = _random_start(num_available, num_frames, stride, rng)
    moves = rng.uniform(-0.5, 0.5, num_frames) * jitter * stride
    return _within(num_available, positions + moves)


def drop_frames(indices: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Each frame is lost with probability ``share``; the one before it stays on screen instead.

    The first is never lost.
    """
    is_kept = rng.random(len(indices)) >= share
    is_kept[0] = True
    return indices[np.maximum.accumulate(np.where(is_kept, np.arange(len(indices)), 0))]


def choose_training_frames(
    num_available: int, config: DataConfig, rng: np.random.Generator
) -> np.ndarray:
    """The frames of a training sample, as ``config.train_sampling`` says."""
    num_frames, sampling = config.num_frames, config.sampling
    if config.train_sampling == "random_segment":
        chosen = random_segment(num_available, num_frames, rng)
    elif config.train_sampling == "dense_strided":
        chosen = dense_strided(num_available, num_frames, sampling.stride, rng)
    elif config.train_sampling == "random_start":
        chosen = random_start(
            num_available,
            num_frames,
            sampling.stride,
            rng,
            jitter=sampling.temporal_jitter,
            speed=sampling.speed_perturbation,
        )
    else:
        chosen = uniform(num_available, num_frames)
    if sampling.frame_drop_share:
        chosen = drop_frames(chosen, sampling.frame_drop_share, rng)
    return chosen


def thin(start: int, end: int, max_frames: int) -> np.ndarray:
    """At most ``max_frames`` of the frames [start, end), evenly, with the first and the last."""
    count = min(end - start, max_frames)
    return np.linspace(start, end - 1, count).round().astype(np.int64)


def _one_per_segment(num_available: int, num_frames: int, where: np.ndarray) -> np.ndarray:
    return _within(num_available, (np.arange(num_frames) + where) * (num_available / num_frames))


def _fitting_stride(num_available: int, num_frames: int, stride: float) -> float:
    return min(stride, num_available / num_frames)


def _random_start(
    num_available: int, num_frames: int, stride: float, rng: np.random.Generator
) -> np.ndarray:
    """Float positions (T,): the middles of T stretches of ``stride``, put somewhere in the clip.

    A fitting stride leaves room >= 0; whole strides give whole distances between frames.
    """
    room = num_available - (num_frames - 1) * stride
    start = rng.uniform(0.0, max(room, 0.0)) if stride >= 1 else rng.uniform(0.0, stride)
    return start + np.arange(num_frames) * stride


def _within(num_available: int, positions: np.ndarray) -> np.ndarray:
    # rounding of a product may reach num_available itself
    return np.clip(positions, 0, num_available - 1).astype(np.int64)
