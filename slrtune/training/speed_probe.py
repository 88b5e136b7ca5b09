"""How fast this machine trains a configuration: a few real steps on random frames."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from slrtune.config.experiment import Experiment
from slrtune.data.loader import ClipBatch
from slrtune.models import create_model
from slrtune.training.batches import micro_batch_size
from slrtune.training.engine import Trainer


@dataclass(frozen=True)
class Speed:
    """Seconds per clip on one worker, without waiting for data."""

    train_s_per_clip: float
    val_s_per_clip: float


def measure_speed(
    experiment: Experiment, num_classes: int, device: torch.device, num_steps: int = 2
) -> Speed:
    """Time ``num_steps`` optimizer steps and as many clips of validation, after a warm-up.

    Raises:
        torch.OutOfMemoryError: the configuration does not fit the device.
    """
    section = {**experiment.model.section.model_dump(), "pretrained": False}
    model = create_model(
        experiment.model.name,
        num_classes=num_classes,
        num_frames=experiment.data.num_frames,
        image_size=experiment.data.image_size,
        **section,
    )
    batches = _RandomBatches(experiment, num_classes, num_steps)
    trainer = Trainer(model, batches, batches, experiment.training, device)
    trainer.train_epoch()
    trainer.validate()
    train_s = trainer.train_epoch()["train_s"]
    val_s = trainer.validate()["val_s"]
    return Speed(train_s / (num_steps * experiment.training.batch_size), val_s / batches.num_clips)


class _RandomBatches:
    """Micro-batches of random frames: a loader that costs nothing."""

    def __init__(self, experiment: Experiment, num_classes: int, num_steps: int) -> None:
        size = micro_batch_size(experiment.training)
        data = experiment.data
        shape = (size, data.num_frames, 3, data.image_size, data.image_size)
        self._batch = ClipBatch(
            torch.randint(256, shape, dtype=torch.uint8),
            torch.randint(num_classes, (size,)),
            torch.arange(size),
        )
        self._num_batches = num_steps * (experiment.training.batch_size // size)
        self.num_clips = self._num_batches * size

    def __iter__(self) -> Iterator[ClipBatch]:
        return itertools.repeat(self._batch, self._num_batches)

    def __len__(self) -> int:
        return self._num_batches

    def set_epoch(self, epoch: int) -> None:
        """The same batch in every epoch."""
