"""Randomness that depends on nothing but the seed and the place in the trial."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from slrtune.config.errors import UserError

_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"


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


@contextmanager
def deterministic_kernels(*, is_strict: bool) -> Iterator[None]:
    """Make cuDNN choose the same kernels each time; what the process had comes back at the end.

    Args:
        is_strict: use only algorithms that repeat bit by bit, wherever torch knows of others.

    Raises:
        UserError: a strict trial needs an operation that has no such algorithm.
    """
    cudnn = torch.backends.cudnn
    cudnn_before = cudnn.benchmark, cudnn.deterministic
    strict_before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    workspace_before = os.environ.get(_WORKSPACE)
    # benchmarking picks kernels by timing noise
    cudnn.benchmark, cudnn.deterministic = False, True
    if is_strict:
        # torch refuses cuBLAS without one of two values: https://docs.nvidia.com/cuda/cublas
        os.environ[_WORKSPACE] = ":4096:8"
    torch.use_deterministic_algorithms(is_strict)
    try:
        yield
    except RuntimeError as error:
        if is_strict and "deterministic" in str(error):
            raise UserError(
                "training.deterministic: the model needs an operation without a deterministic "
                f"algorithm ({str(error).splitlines()[0]}); set it to false"
            ) from error
        raise
    finally:
        cudnn.benchmark, cudnn.deterministic = cudnn_before
        torch.use_deterministic_algorithms(strict_before[0], warn_only=strict_before[1])
        if workspace_before is None:
            os.environ.pop(_WORKSPACE, None)
        else:
            os.environ[_WORKSPACE] = workspace_before
