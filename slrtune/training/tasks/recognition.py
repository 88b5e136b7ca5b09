"""Isolated recognition: one gloss per clip, cross-entropy, accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slrtune.config import objective
from slrtune.config.training import TrainingConfig
from slrtune.data.loader import ClipBatch
from slrtune.models.registry import FrameFeatureModel, VideoModel
from slrtune.training.exhibit import GlossExhibit
from slrtune.training.features import FeatureClassifier
from slrtune.training.metrics import ClassificationMetrics
from slrtune.training.mixing import Mix, draw_mixes, mix_inputs, mix_labels
from slrtune.training.tasks.task import Judge, Task


class Recognition(Task):
    """Label-smoothed cross-entropy of the gloss, with mixed clips where the recipe says so."""

    kind: ClassVar[objective.Task] = "recognition"
    headline = ("val_top1", "val_top5", "val_loss")

    def __init__(self, config: TrainingConfig, exhibit: GlossExhibit | None = None) -> None:
        """
        Args:
            config: the recipe.
            exhibit: is shown each validation, and saved with the best; None = nothing to look at.
        """
        self._config, self._exhibit = config, exhibit

    def network(self, model: VideoModel) -> nn.Module:
        """The model, or with cached features the part behind its encoder."""
        if not self._config.cache_features:
            return model
        assert isinstance(model, FrameFeatureModel)  # the features came from it
        return FeatureClassifier(model)

    def targets(self, batch: ClipBatch, epoch: int) -> Sequence[Mix]:
        """How each clip is mixed with another; the glosses are in the batch."""
        return draw_mixes(self._config, epoch, batch)

    def inputs(self, frames: Tensor, targets: Sequence[Mix]) -> tuple[Tensor]:
        """The mixed frames."""
        return (mix_inputs(frames, targets),)

    def loss_sum(self, outputs: Tensor, batch: ClipBatch, targets: Sequence[Mix]) -> Tensor:
        """Of logits (B, G)."""
        labels = mix_labels(batch.labels, targets, num_glosses=outputs.shape[1])
        smoothing = self._config.label_smoothing
        return F.cross_entropy(outputs.float(), labels, reduction="sum", label_smoothing=smoothing)

    def judge(self, device: torch.device) -> Judge:
        """Accuracy and plain cross-entropy."""
        return _AccuracyJudge(device, self._exhibit)

    def exhibit(self) -> None:
        """Confusions and some clips."""
        if self._exhibit is not None:
            self._exhibit.save()


class _AccuracyJudge(Judge):
    def __init__(self, device: torch.device, exhibit: GlossExhibit | None) -> None:
        self._metrics, self._exhibit = ClassificationMetrics(device), exhibit
        if exhibit is not None:
            exhibit.begin()

    def look(self, network: nn.Module, frames: Tensor, batch: ClipBatch) -> Tensor:
        logits: Tensor = network(frames)
        return logits

    def count(self, outputs: Tensor, batch: ClipBatch) -> None:
        self._metrics.update(outputs, batch.labels)
        if self._exhibit is not None:
            self._exhibit.add(batch, outputs)

    def compute(self) -> dict[str, float]:
        if self._exhibit is not None:
            self._exhibit.end()
        return self._metrics.compute()
