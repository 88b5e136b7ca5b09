"""Batches of clips for one rank."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from slrtune.config.data import DataConfig
from slrtune.data.ahead import loaded_ahead
from slrtune.data.dataset import ClipDataset, Sample
from slrtune.data.feature_cache import FeatureDataset, FeatureFile
from slrtune.data.prepare import PreparedData
from slrtune.data.sharding import Shard, TrainingBatches, ValidationBatches
from slrtune.data.views import MultiViewDataset, Views
from slrtune.data.workers import process_context


@dataclass
class ClipBatch:
    """Clips as the model sees them. B clips, T frames, C channels, H W pixels.

    Attributes:
        frames: uint8 (B, T, C, H, W); in a multi-view test (B, V, T, C, H, W); from the feature
            cache, floats (B, T, F).
        labels: int64 (B,), places in the prepared data's glosses.
        clip_ids: int64 (B,), places in its manifest.
    """

    frames: Tensor
    labels: Tensor
    clip_ids: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device | str) -> ClipBatch:
        """The same batch on ``device``; pinned memory is copied while the GPU computes."""
        return ClipBatch(
            self.frames.to(device, non_blocking=True),
            self.labels.to(device, non_blocking=True),
            self.clip_ids.to(device, non_blocking=True),
        )

    def pin_memory(self) -> ClipBatch:
        """The same batch in page-locked memory."""
        return ClipBatch(
            self.frames.pin_memory(), self.labels.pin_memory(), self.clip_ids.pin_memory()
        )


class ClipLoader:
    """Loads in processes, or in a thread of this one, while the batch before is computed on.

    Iterates over the micro-batches of one rank for one epoch; call `set_epoch` before each."""

    def __init__(
        self,
        dataset: Dataset[Sample],
        batches: TrainingBatches | ValidationBatches,
        num_workers: int,
        pin_memory: bool,
    ) -> None:
        self._batches = batches
        self._loader = DataLoader(
            dataset,
            batch_sampler=batches,
            num_workers=num_workers,
            collate_fn=collate,
            pin_memory=pin_memory,
            persistent_workers=num_workers > 0,
            multiprocessing_context=process_context() if num_workers else None,
            # its own: else starting an epoch would advance the generator of the model's dropout
            generator=torch.Generator(),
        )

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[ClipBatch]:
        if self._loader.num_workers == 0:
            return loaded_ahead(self._loader)
        return iter(self._loader)

    def set_epoch(self, epoch: int, num_done: int = 0) -> None:
        """Choose the epoch, from 0, that the next iteration goes through.

        Args:
            num_done: micro-batches of it that this rank has had before an interruption. The rest
                comes exactly as it would have, for a batch depends on (seed, epoch, its place).
        """
        self._batches.epoch, self._batches.num_done = epoch, num_done


def build_loader(
    prepared: PreparedData,
    config: DataConfig,
    *,
    is_training: bool,
    batch_size: int,
    micro_batch_size: int,
    seed: int,
    rank: int = 0,
    world_size: int = 1,
    pin_memory: bool = False,
    class_balance: float = 0.0,
    features: FeatureFile | None = None,
) -> ClipLoader:
    """The loader of ``config.train_split`` or ``config.val_split`` for one rank.

    Args:
        config: may differ from the prepared one in what the cache does not fix, such as
            ``num_frames``.
        batch_size: clips per optimizer step over all ranks; a multiple of
            ``world_size * micro_batch_size``.
        micro_batch_size: clips per batch that the loader gives.
        pin_memory: page-locked batches; only for training on a GPU.
        class_balance: how far clips of rare glosses come more often in training, 0..1.
        features: give these instead of pixels.

    Raises:
        ValueError: sizes that do not divide.
    """
    split = config.train_split if is_training else config.val_split
    dataset: ClipDataset | FeatureDataset = replace(prepared, config=config).dataset(
        split, is_training=is_training, seed=seed
    )
    if features is not None:
        dataset = FeatureDataset(
            features.path, dataset.clips, config, is_training=is_training, seed=seed
        )
    shard = Shard(batch_size, micro_batch_size, rank, world_size)
    labels = [clip.label for clip in dataset.clips]
    batches = (
        TrainingBatches(labels, shard, seed, class_balance)
        if is_training
        else ValidationBatches(len(dataset), shard)
    )
    return ClipLoader(dataset, batches, config.num_loader_workers, pin_memory)


def build_test_loader(
    prepared: PreparedData,
    split: str,
    views: Views,
    batch_size: int,
    *,
    pin_memory: bool = False,
) -> ClipLoader:
    """Each clip of ``split`` once, in manifest order, with frames (B, V, T, C, H, W)."""
    clips = prepared.dataset(split, is_training=False, seed=0)
    dataset = MultiViewDataset(clips, prepared.config, views)
    batches = ValidationBatches(len(dataset), Shard(batch_size, batch_size))
    return ClipLoader(dataset, batches, prepared.config.num_loader_workers, pin_memory)


def collate(samples: Sequence[Sample]) -> ClipBatch:
    """One batch of the given samples, in their order."""
    frames, labels, clip_ids = zip(*samples, strict=True)
    return ClipBatch(torch.stack(frames), torch.tensor(labels), torch.tensor(clip_ids))
