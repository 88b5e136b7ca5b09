"""Randomness that depends on nothing but the seed and the place in the trial."""

from __future__ import annotations

import random

import numpy as np
import torch


def seed_everything(seed: int, *place: int) -> None:
    """Seed Python, NumPy and torch (all devices) from ``seed`` and a place such as (epoch, rank).

    Seeding anew at every epoch, rather than saving generator states, makes resuming exact on any
    number of workers: what an epoch draws does not depend on how the process got there.

    Args:
        seed: the trial's seed.
        place: non-negative integers; each place has its own independent stream.
    """
    words = np.random.SeedSequence((seed, *place)).generate_state(4)
    random.seed(int(words[0]))
    np.random.seed(int(words[1]))
    torch.manual_seed(int(words[2]) << 32 | int(words[3]))


def use_deterministic_kernels() -> None:
    """Make cuDNN choose the same kernels each time: benchmarking picks by timing noise."""
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
