"""Which clips make up which micro-batch on which rank. Integers only.

A training epoch is a permutation from (seed, epoch), cut into batches of ``batch_size``, each of
which the ranks share. So an optimizer step sees the same clips whatever the number of ranks and
the micro-batch size.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from slrtune.data.seeding import Purpose, random_stream

Key = tuple[int, int]
"""(epoch, index in the split)"""


@dataclass(frozen=True)
class Shard:
    """What one rank takes of the whole.

    Attributes:
        batch_size: clips per optimizer step over all ranks.
        micro_batch_size: clips per forward-backward on one rank.
    """

    batch_size: int
    micro_batch_size: int
    rank: int = 0
    world_size: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.world_size:
            raise ValueError(f"rank {self.rank} must be in 0..{self.world_size - 1}")
        if self.batch_size % (self.world_size * self.micro_batch_size):
            raise ValueError(
                f"batch_size {self.batch_size} must be a multiple of {self.world_size} ranks x "
                f"micro_batch_size {self.micro_batch_size}"
            )


class TrainingBatches:
    """Micro-batches of keys of one rank. An incomplete last batch is dropped; a split smaller than
    one batch is repeated cyclically to fill it."""

    def __init__(self, num_clips: int, shard: Shard, seed: int) -> None:
        self.epoch = 0
        self._num_clips = num_clips
        self._shard = shard
        self._seed = seed
        self._num_steps = max(num_clips // shard.batch_size, 1)

    def __len__(self) -> int:
        shard = self._shard
        return self._num_steps * (shard.batch_size // shard.world_size // shard.micro_batch_size)

    def __iter__(self) -> Iterator[list[Key]]:
        shard, epoch = self._shard, self.epoch
        order = random_stream(Purpose.ORDER, self._seed, epoch).permutation(self._num_clips)
        for step in _cut(order, self._num_steps, shard):
            for micro_batch in step[shard.rank]:
                yield [(epoch, index) for index in micro_batch.tolist()]


class ValidationBatches:
    """Micro-batches of keys of one rank: clips rank, rank + world_size, ...; each clip once."""

    def __init__(self, num_clips: int, shard: Shard) -> None:
        self.epoch = 0
        self._indices = range(shard.rank, num_clips, shard.world_size)
        self._size = shard.micro_batch_size

    def __len__(self) -> int:
        return -(-len(self._indices) // self._size)

    def __iter__(self) -> Iterator[list[Key]]:
        for start in range(0, len(self._indices), self._size):
            yield [(self.epoch, index) for index in self._indices[start : start + self._size]]


def _cut(order: np.ndarray, num_steps: int, shard: Shard) -> np.ndarray:
    """(step, rank, micro-batch, clip); np.resize repeats a short order and drops a long tail."""
    flat = np.resize(order, num_steps * shard.batch_size)
    return flat.reshape(num_steps, shard.world_size, -1, shard.micro_batch_size)
