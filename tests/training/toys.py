"""A tiny real model and clips in memory, which the engine cannot tell from the real ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from slrtune.config.experiment import Experiment
from slrtune.config.training import TrainingConfig
from slrtune.data.loader import ClipBatch
from slrtune.models.registry import VideoModel
from slrtune.training.checkpoint import CheckpointStore
from slrtune.training.engine import Trainer

NUM_CLIPS, NUM_CLASSES = 16, 6
CPU = torch.device("cpu")


class ToyModel(VideoModel):
    """Clips (B, 2, 3, 4, 4) to logits (B, 6); ``poisoned_calls`` in training see NaN."""

    encoder_prefixes = ("encoder.",)

    def __init__(
        self,
        dropout: float = 0.0,
        poisoned_calls: tuple[int, ...] = (),
        use_batch_norm: bool = False,
    ) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.encoder = nn.Linear(3 * 4 * 4, 16)
        self.position = nn.Parameter(torch.zeros(1, 2, 16))
        self.norm = nn.LayerNorm(16)
        self.batch_norm = nn.BatchNorm1d(16) if use_batch_norm else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(16, NUM_CLASSES)
        self.poisoned_calls, self.num_calls = poisoned_calls, 0

    def forward(self, frames: Tensor, frame_mask: Tensor | None = None) -> Tensor:
        self.num_calls += self.training
        if self.training and self.num_calls in self.poisoned_calls:
            frames = frames * float("nan")
        features = self.norm(torch.relu(self.encoder(frames.flatten(2)) + self.position))
        return self.head(self.dropout(self.batch_norm(features.mean(dim=1))))

    def no_weight_decay_names(self) -> set[str]:
        return {"position"}


def toy_clips() -> ClipBatch:
    """All clips of the toy set: the label is in the colours, under noise."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(NUM_CLIPS) % NUM_CLASSES
    frames = torch.randint(0, 128, (NUM_CLIPS, 2, 3, 4, 4), generator=generator)
    frames[:, :, 0] += 20 * labels.view(-1, 1, 1, 1)
    return ClipBatch(frames.to(torch.uint8), labels, torch.arange(NUM_CLIPS))


class ToyLoader:
    """Keeps the contract of the real loader: ranks share each global batch."""

    def __init__(
        self, config: TrainingConfig, *, is_training: bool, rank: int = 0, world_size: int = 1
    ) -> None:
        self.is_training, self.rank, self.world_size = is_training, rank, world_size
        self.seed, self.batch_size = config.seed, config.batch_size
        self.micro = config.micro_batch_size or config.batch_size // world_size
        self.clips, self.epoch, self.num_done = toy_clips(), 0, 0

    def set_epoch(self, epoch: int, num_done: int = 0) -> None:
        self.epoch, self.num_done = epoch, num_done

    def _indices(self) -> Tensor:
        if not self.is_training:
            return torch.arange(self.rank, NUM_CLIPS, self.world_size)
        generator = torch.Generator().manual_seed(1000 * self.seed + self.epoch)
        order = torch.randperm(NUM_CLIPS, generator=generator)
        order = order[: NUM_CLIPS // self.batch_size * self.batch_size]
        return order.view(-1, self.world_size, self.batch_size // self.world_size)[:, self.rank]

    def __len__(self) -> int:
        return len(self._indices().flatten().split(self.micro))

    def __iter__(self) -> Iterator[ClipBatch]:
        for indices in self._indices().flatten().split(self.micro)[self.num_done :]:
            yield ClipBatch(self.clips.frames[indices], self.clips.labels[indices], indices)


class Reports(list[dict[str, float]]):
    """A report function that remembers, and stops after ``stop_epoch``."""

    def __init__(self, stop_epoch: int | None = None) -> None:
        super().__init__()
        self.stop_epoch = stop_epoch

    def __call__(self, metrics: dict[str, float]) -> bool:
        self.append(metrics)
        return metrics["epoch"] != self.stop_epoch


def toy_trainer(
    folder: Path | None = None,
    model: ToyModel | None = None,
    rank: int = 0,
    world_size: int = 1,
    device: torch.device = CPU,
    **training: Any,
) -> Trainer:
    """A trainer of the toy model on the toy clips, 4 steps per epoch."""
    settings = {"max_epochs": 6, "batch_size": 4, "learning_rate": 0.01, "warmup_epochs": 0.5}
    config = TrainingConfig.model_validate({**settings, **training})
    store = CheckpointStore(folder, Experiment(training=config), GLOSSES) if folder else None
    return Trainer(
        model or ToyModel(),
        ToyLoader(config, is_training=True, rank=rank, world_size=world_size),
        ToyLoader(config, is_training=False, rank=rank, world_size=world_size),
        config,
        device,
        store,
    )


GLOSSES = tuple("abcdef")
