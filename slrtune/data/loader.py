"""Batches of clips for one rank."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from slrtune.config.data import DataConfig
from slrtune.data.ahead import loaded_ahead
from slrtune.data.augment import Changes, change_clips, pad_together
from slrtune.data.dataset import ClipDataset, Sample
from slrtune.data.feature_cache import FeatureDataset, FeatureFile
from slrtune.data.prepared import PreparedData
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
        augment: what `to` still has to make of the frames, which are of packed size until then.
        keypoints: float32 (B, T, K, 2), landmarks as the model sees them, see `keypoints_in_view`;
            None where nothing is learnt from them.
    """

    frames: Tensor
    labels: Tensor
    clip_ids: Tensor
    augment: Augment | None = None
    keypoints: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device | str) -> ClipBatch:
        """The batch on ``device``, augmented there; pinned memory is copied asynchronously."""
        frames = self.frames.to(device, non_blocking=True)
        return ClipBatch(
            frames if self.augment is None else self.augment(frames),
            self.labels.to(device, non_blocking=True),
            self.clip_ids.to(device, non_blocking=True),
            keypoints=None
            if self.keypoints is None
            else self.keypoints.to(device, non_blocking=True),
        )

    def pin_memory(self) -> ClipBatch:
        """The same batch in page-locked memory."""
        return replace(
            self,
            frames=self.frames.pin_memory(),
            labels=self.labels.pin_memory(),
            clip_ids=self.clip_ids.pin_memory(),
            keypoints=None if self.keypoints is None else self.keypoints.pin_memory(),
        )


@dataclass(frozen=True)
class Augment:
    """Makes the changes that were drawn for the clips of a batch, wherever its frames are."""

    changes: Changes
    image_size: int

    def __call__(self, frames: Tensor) -> Tensor:
        """uint8 (B, T, C, H, W) of any size to (B, T, C, S, S)."""
        return change_clips(frames, self.changes, self.image_size)


class ClipLoader:
    """Loads in processes, or in a thread of this one, while the batch before is computed on.

    Iterates over the micro-batches of one rank for one epoch; call `set_epoch` before each."""

    def __init__(
        self,
        dataset: Dataset[Sample],
        batches: TrainingBatches | ValidationBatches,
        config: DataConfig,
        pin_memory: bool,
    ) -> None:
        num_workers = config.num_loader_workers
        augments_on_gpu = pin_memory and config.augmentation.use_gpu
        self._batches = batches
        self._loader = DataLoader(
            dataset,
            batch_sampler=batches,
            num_workers=num_workers,
            collate_fn=partial(
                collate, image_size=config.image_size, augments_later=augments_on_gpu
            ),
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
    num_keypoints: int = 0,
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
        num_keypoints: landmarks that every clip which has any has; 0 = batches without them.

    Raises:
        ValueError: sizes that do not divide.
    """
    split = config.train_split if is_training else config.val_split
    dataset: ClipDataset | FeatureDataset = replace(prepared, config=config).dataset(
        split, is_training=is_training, seed=seed, num_keypoints=num_keypoints
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
    return ClipLoader(dataset, batches, config, pin_memory)


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
    return ClipLoader(dataset, batches, prepared.config, pin_memory)


def collate(
    samples: Sequence[Sample], image_size: int = 0, *, augments_later: bool = False
) -> ClipBatch:
    """One batch of the given samples, in their order.

    Args:
        image_size: S, for samples whose change is still to be made.
        augments_later: leave the changes to `ClipBatch.to`.
    """
    frames, labels, clip_ids, changes, points = zip(*samples, strict=True)
    augment = None
    if changes[0] is None:
        batch = torch.stack(frames)
    else:
        batch, augment = pad_together(frames), Augment(Changes(changes), image_size)
        if not augments_later:
            batch, augment = augment(batch), None
    keypoints = None if points[0] is None else torch.stack(points)
    return ClipBatch(batch, torch.tensor(labels), torch.tensor(clip_ids), augment, keypoints)
