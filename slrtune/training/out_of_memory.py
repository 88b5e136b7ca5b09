"""Running out of device memory: telling it from other errors, and how much was in use."""

from __future__ import annotations

import torch

from slrtune.training.peak_memory import BudgetExceededError

_BYTES_PER_GIB = 2**30
# Libraries that allocate on their own say so in words only.
_WORDS = (
    "out of memory",
    "can't allocate memory",  # PyTorch's CPU allocator
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the device (or the CPU in its place) could not give the memory that was asked for."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _WORDS)


def forget_peak() -> None:
    """Begin to measure anew: the peak of an earlier trial is none of the next one's."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def peak_at_failure_gib(error: BaseException) -> float | None:
    """What was in use at most when memory ran out: a lower bound of what the trial needs.

    Args:
        error: one that says what was needed knows best.

    Returns:
        GiB; None where nobody measured.
    """
    if isinstance(error, BudgetExceededError):
        return error.needed_gib
    if torch.cuda.is_available():
        return torch.cuda.max_memory_reserved() / _BYTES_PER_GIB
    return None
