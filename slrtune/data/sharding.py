"""Which clips make up which micro-batch on which rank. Integers only.

A training epoch is an order of clips from (seed, epoch), cut into batches of ``batch_size``, each
of which the ranks share. So an optimizer step sees the same clips whatever the number of ranks and
the micro-batch size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from slrtune.data.seeding import Purpose, random_stream

Key = tuple[int, int, int]
"""(epoch, index in the split, how often the epoch has had it before)"""


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
    one batch is repeated cyclically to fill it.

    Attributes:
        epoch: which one the next iteration goes through, from 0.
        num_done: micro-batches at its beginning that it leaves out: those before an interruption.

    Args:
        labels: gloss of each clip of the split.
        class_balance: 0 = each clip once; up to 1 = each gloss equally often, see
            :func:`balanced_order`.
    """

    def __init__(
        self, labels: Sequence[int], shard: Shard, seed: int, class_balance: float = 0.0
    ) -> None:
        self.epoch = 0
        self.num_done = 0
        self._labels = np.asarray(labels)
        self._shard = shard
        self._seed = seed
        self._class_balance = class_balance
        self._num_steps = max(len(labels) // shard.batch_size, 1)

    def __len__(self) -> int:
        """Micro-batches of a whole epoch."""
        shard = self._shard
        return self._num_steps * (shard.batch_size // shard.world_size // shard.micro_batch_size)

    def __iter__(self) -> Iterator[list[Key]]:
        shard, epoch = self._shard, self.epoch
        order = self._order(random_stream(Purpose.ORDER, self._seed, epoch))
        steps = _cut(order, self._num_steps, shard)
        repeats = _cut(_repeats(steps.ravel()), self._num_steps, shard)
        mine, times = (each[:, shard.rank].reshape(-1, each.shape[-1]) for each in (steps, repeats))
        for indices, counts in zip(mine[self.num_done :], times[self.num_done :], strict=True):
            yield [(epoch, *key) for key in zip(indices.tolist(), counts.tolist(), strict=True)]

    def _order(self, rng: np.random.Generator) -> np.ndarray:
        if self._class_balance == 0.0:
            return rng.permutation(len(self._labels))
        return balanced_order(self._labels, self._class_balance, rng)


def balanced_order(
    labels: np.ndarray, class_balance: float, rng: np.random.Generator
) -> np.ndarray:
    """As many clips as there are, those of rare glosses more often than once, in random order.

    Systematic resampling (Kitagawa 1996) rather than independent draws: every gloss, and every
    clip, comes as often as expected, rounded up or down. A gloss of n clips gets a share in
    proportion to n^(1 - class_balance); its clips share it equally.

    Args:
        labels: int64 (number of clips,).

    Returns:
        int64 of the same length: indices, some of them repeatedly, others perhaps not at all.
    """
    weights = np.bincount(labels)[labels] ** -class_balance
    expected = weights * (len(labels) / weights.sum())
    shuffled = rng.permutation(len(labels))
    by_gloss = shuffled[np.argsort(labels[shuffled], kind="stable")]
    ends = expected[by_gloss].cumsum()
    ends[-1] = len(labels)  # not by a rounding error less
    times = np.diff(np.floor(ends + rng.random()), prepend=0.0).astype(np.int64)
    return rng.permutation(np.repeat(by_gloss, times))


class ValidationBatches:
    """Micro-batches of keys of one rank: clips rank, rank + world_size, ...; each clip once."""

    def __init__(self, num_clips: int, shard: Shard) -> None:
        self.epoch = self.num_done = 0
        self._indices = range(shard.rank, num_clips, shard.world_size)
        self._size = shard.micro_batch_size

    def __len__(self) -> int:
        return -(-len(self._indices) // self._size)

    def __iter__(self) -> Iterator[list[Key]]:
        for start in range(self.num_done * self._size, len(self._indices), self._size):
            yield [(self.epoch, index, 0) for index in self._indices[start : start + self._size]]


def _cut(order: np.ndarray, num_steps: int, shard: Shard) -> np.ndarray:
    """(step, rank, micro-batch, clip); np.resize repeats a short order and drops a long tail."""
    flat = np.resize(order, num_steps * shard.batch_size)
    return flat.reshape(num_steps, shard.world_size, -1, shard.micro_batch_size)


def _repeats(indices: np.ndarray) -> np.ndarray:
    """How often each entry occurs before its place."""
    by_index = np.argsort(indices, kind="stable")
    is_first = np.diff(indices[by_index], prepend=-1) != 0
    starts = np.maximum.accumulate(np.where(is_first, np.arange(len(indices)), 0))
    repeats = np.empty_like(indices)
    repeats[by_index] = np.arange(len(indices)) - starts
    return repeats
