"""What the training loop asks of its loaders."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch

from slrtune.config.errors import UserError
from slrtune.config.training import TrainingConfig
from slrtune.data.loader import ClipBatch
from slrtune.training import distributed


class Loader(Protocol):
    """Micro-batches of one rank."""

    def __iter__(self) -> Iterator[ClipBatch]: ...
    def __len__(self) -> int: ...
    def set_epoch(self, epoch: int, num_done: int = 0) -> None:
        """Choose a 0-based epoch, and how many of its micro-batches are left out: those before an
        interruption. What comes does not depend on how the process got there."""
        ...


@dataclass
class PartialEpoch:
    """The steps of an epoch so far; plain, so that a checkpoint can hold it.

    Attributes:
        losses: mean loss of each step.
        train_s: seconds they took.
        wait_s: seconds of these spent waiting for clips.
        counts: what the task counted up to the last checkpoint, over all ranks.
    """

    losses: list[float] = field(default_factory=list)
    train_s: float = 0.0
    wait_s: float = 0.0
    counts: dict[str, float] = field(default_factory=dict)

    def count(self, more: dict[str, float]) -> dict[str, float]:
        """Add ``more`` to what was counted; the sums."""
        for name, value in more.items():
            self.counts[name] = self.counts.get(name, 0.0) + value
        return self.counts


def micro_batch_size(config: TrainingConfig) -> int:
    """Clips per forward-backward on one rank; all of its batch for an ``auto`` without a budget.

    Raises:
        UserError: micro-batches of all ranks do not add up to batches.
    """
    num_ranks = distributed.world_size()
    size = config.micro_batch_size
    if not isinstance(size, int):
        size = max(config.batch_size // num_ranks, 1)
    if config.batch_size % (size * num_ranks):
        raise UserError(
            f"training.micro_batch_size times the workers of a trial must divide "
            f"training.batch_size, but {config.batch_size} / ({size} x {num_ranks}) leaves a "
            "remainder; change training.batch_size or training.micro_batch_size"
        )
    return size


class TimedIterator(Iterator[ClipBatch]):
    """Iterates over a loader and adds up the time spent waiting for it.

    Args:
        device: copy each batch there ahead of time, if it is a GPU; None = leave it to the caller.
    """

    def __init__(self, loader: Loader, device: torch.device | None = None) -> None:
        started_s = time.perf_counter()
        self._batches = iter(loader)
        if device is not None and device.type == "cuda":
            self._batches = copied_ahead(self._batches, device)
        self.wait_s = time.perf_counter() - started_s

    def __next__(self) -> ClipBatch:
        started_s = time.perf_counter()
        try:
            return next(self._batches)
        finally:
            self.wait_s += time.perf_counter() - started_s


def copied_ahead(batches: Iterator[ClipBatch], device: torch.device) -> Iterator[ClipBatch]:
    """The batches on a GPU, each copied there on a stream of its own while the last one computes.

    Clip ids stay on the CPU, where mixes are drawn. Costs the memory of one more batch of pixels.
    """
    stream = torch.cuda.Stream(device)

    def copy_next() -> ClipBatch | None:
        batch = next(batches, None)
        if batch is None:
            return None
        with torch.cuda.stream(stream):
            return replace(batch.to(device), clip_ids=batch.clip_ids)

    ahead = copy_next()
    while ahead is not None:
        batch, computing = ahead, torch.cuda.current_stream(device)
        computing.wait_stream(stream)
        for tensor in (batch.frames, batch.labels, batch.keypoints):
            if tensor is not None:
                # its memory belongs to the copying stream, which must not reuse it too early
                tensor.record_stream(computing)
        ahead = copy_next()
        yield batch
