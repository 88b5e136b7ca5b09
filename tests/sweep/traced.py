"""The memory of a configuration by really training two steps of it, on clips that say nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from slrtune.config.experiment import Experiment
from slrtune.data.loader import ClipBatch
from slrtune.models import create_model
from slrtune.training.batches import micro_batch_size
from slrtune.training.engine import Trainer


@dataclass(frozen=True)
class Traced:
    """Peaks in GiB."""

    train_peak_gib: float
    inference_peak_gib: float = 0.0


class _TwoSteps:
    def __init__(self, experiment: Experiment) -> None:
        data, training = experiment.data, experiment.training
        size = micro_batch_size(training)
        self._num_batches = 2 * training.batch_size // size
        shape = (size, data.num_frames, 3, data.image_size, data.image_size)
        self._batch = ClipBatch(
            torch.zeros(shape, dtype=torch.uint8),
            torch.zeros(size, dtype=torch.int64),
            torch.arange(size),
        )

    def __len__(self) -> int:
        return self._num_batches

    def __iter__(self) -> Iterator[ClipBatch]:
        return iter([self._batch] * self._num_batches)

    def set_epoch(self, epoch: int) -> None:
        """All epochs are alike."""


class TracedPredictor:
    """Predicts the tracked peak on the CPU without an error, at the price of two steps.

    Args:
        num_classes: glosses of the data.
    """

    def __init__(self, num_classes: int) -> None:
        self._num_classes = num_classes

    def predict(self, experiment: Experiment) -> Traced:
        """Train two steps."""
        model = create_model(
            experiment.model.name,
            num_classes=self._num_classes,
            num_frames=experiment.data.num_frames,
            image_size=experiment.data.image_size,
            **experiment.model.section.model_dump(),
        )
        loader = _TwoSteps(experiment)
        trainer = Trainer(model, loader, loader, experiment.training, torch.device("cpu"))
        trainer.train_epoch()
        return Traced(trainer.memory.peak_gib)
