"""What an evaluation found, and the figures that follow from it.

Shapes: N clips, G glosses of the model, E glosses in all (those of the data that the model does
not know come after its own).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from slrtune.data.coverage import Coverage
from slrtune.data.manifest import ClipRecord
from slrtune.data.views import Views
from slrtune.deploy.trained_model import TrainedModel
from slrtune.training.evaluation import NO_PREDICTION, InferenceCost, Predictions
from slrtune.training.metrics import ClassCounts, wilson_interval


class GlossAccuracy(NamedTuple):
    """Accuracy of one gloss that has clips."""

    gloss: str
    num_clips: int
    top1: float
    top5: float
    top10: float


class SignerAccuracy(NamedTuple):
    """Accuracy on the clips of one signer; None where the data do not say who signs."""

    signer: str | None
    num_clips: int
    num_correct: int

    @property
    def top1(self) -> float:
        """Share of correct clips."""
        return self.num_correct / self.num_clips


class Confusion(NamedTuple):
    """How often clips of one gloss were taken for another one."""

    gloss: str
    predicted: str
    num_clips: int
    share: float
    """Of the clips of ``gloss``."""


@dataclass(frozen=True)
class Evaluation:
    """Every clip's outcome on one split.

    Attributes:
        trained: the checkpoint.
        split: its name.
        views: of each clip that were averaged.
        records: the clips, as `predictions` orders them.
        glosses: E names; the first are the model's labels.
        predictions: outcomes.
        coverage: of this split alone.
        cost: time and memory.
        num_parameters: of the model.
        precision, device, batch_size: how it was computed.
    """

    trained: TrainedModel
    split: str
    views: Views
    records: Sequence[ClipRecord]
    glosses: tuple[str, ...]
    predictions: Predictions
    coverage: Coverage
    cost: InferenceCost
    num_parameters: int
    precision: str
    device: str
    batch_size: int

    @cached_property
    def counts(self) -> ClassCounts:
        """Clips and hits of each gloss."""
        return ClassCounts.of(self.predictions.labels, self.predictions.ranks, len(self.glosses))

    @property
    def top1_interval(self) -> tuple[float, float]:
        """95 % confidence interval of top-1: what chance in the choice of clips allows."""
        num_correct = int((self.predictions.ranks == 0).sum())
        return wilson_interval(num_correct, len(self.predictions))

    @property
    def loss(self) -> float | None:
        """Mean cross-entropy of the clips that have one; None if none has."""
        losses = self.predictions.losses
        finite = losses[losses.isfinite()]
        return float(finite.mean()) if len(finite) else None

    @property
    def num_invalid(self) -> int:
        """Clips whose logits were NaN or infinite; they count as wrong."""
        return int((self.predictions.predicted == NO_PREDICTION).sum())

    @property
    def unknown_glosses(self) -> tuple[str, ...]:
        """Glosses of the split that the model does not know; their clips count as wrong."""
        return self.glosses[len(self.trained.glosses) :]

    @property
    def num_of_unknown(self) -> int:
        """Clips of these glosses."""
        return int(self.counts.clips[len(self.trained.glosses) :].sum())

    @property
    def empty_glosses(self) -> tuple[str, ...]:
        """Glosses of the model without a clip in the split: not in the means over glosses."""
        return tuple(self.glosses[label] for label in self.counts.empty_classes)

    @cached_property
    def per_gloss(self) -> list[GlossAccuracy]:
        """Every gloss with clips, the worst first; of equals the one with more clips."""
        accuracies = [self.counts.class_accuracies(k).tolist() for k in (1, 5, 10)]
        rows = [
            GlossAccuracy(
                self.glosses[label], int(num_clips), *(each[label] for each in accuracies)
            )
            for label, num_clips in enumerate(self.counts.clips.tolist())
            if num_clips
        ]
        return sorted(rows, key=lambda row: (row.top1, -row.num_clips, row.gloss))

    @cached_property
    def per_signer(self) -> list[SignerAccuracy]:
        """Every signer, by name; unknown last."""
        outcomes: dict[str | None, list[bool]] = defaultdict(list)
        is_correct = (self.predictions.ranks == 0).tolist()
        for record, correct in zip(self.records, is_correct, strict=True):
            outcomes[record.signer].append(correct)
        rows = [SignerAccuracy(name, len(each), sum(each)) for name, each in outcomes.items()]
        return sorted(rows, key=lambda row: (row.signer is None, row.signer or ""))

    @cached_property
    def confusions(self) -> list[Confusion]:
        """Every pair of true and wrongly predicted gloss, the most frequent first."""
        predictions = self.predictions
        pairs = Counter(
            (label, predicted)
            for label, predicted in zip(
                predictions.labels.tolist(), predictions.predicted.tolist(), strict=True
            )
            if predicted not in (label, NO_PREDICTION)
        )
        clips = self.counts.clips.tolist()
        rows = [
            Confusion(self.glosses[label], self.glosses[predicted], count, count / clips[label])
            for (label, predicted), count in pairs.items()
        ]
        return sorted(rows, key=lambda row: (-row.num_clips, -row.share, row.gloss, row.predicted))

    @cached_property
    def confusion_matrix(self) -> Tensor:
        """int64 (E, E + 1): clips by true and predicted gloss; last column: no prediction."""
        size = len(self.glosses)
        predicted = self.predictions.predicted
        columns = torch.where(predicted == NO_PREDICTION, size, predicted)
        flat = self.predictions.labels * (size + 1) + columns
        return flat.bincount(minlength=size * (size + 1)).view(size, size + 1)
