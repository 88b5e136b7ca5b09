"""Exact accuracy and loss of a pass over a split: sums of counts, joined over ranks once.

Shapes: B clips of a batch, N clips, G glosses, K = len(TOP_KS).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor
from torch.nn import functional as F

from slrtune.training import distributed

TOP_KS = (1, 5, 10)
NEVER = torch.iinfo(torch.int64).max
"""Rank of a clip that cannot be right, however few glosses there are."""
_Z_95 = 1.959963984540054  # standard normal quantile of 97.5 %


def label_ranks(logits: Tensor, labels: Tensor) -> Tensor:
    """How many glosses the model puts before the true one; 0 = it is the prediction.

    Equal logits rank by index, so that a prediction is the same on every device; a clip with a
    NaN or infinite logit ranks nowhere, else a broken model would look perfect.

    Args:
        logits: (B, G).
        labels: int64 (B,).

    Returns:
        int64 (B,), from 0 to G - 1, or NEVER.
    """
    label_column = labels.unsqueeze(1)
    label_logits = logits.gather(1, label_column)
    index = torch.arange(logits.shape[1], device=logits.device)
    is_ahead = (logits > label_logits) | ((logits == label_logits) & (index < label_column))
    is_valid = logits.isfinite().all(dim=1)
    return torch.where(is_valid, is_ahead.sum(dim=1), NEVER)


@dataclass(frozen=True)
class ClassCounts:
    """Clips and hits of each gloss.

    A gloss without a clip has no accuracy: it stays out of the means over glosses.

    Attributes:
        clips: float64 (G,), exact up to 2**53.
        hits: float64 (K, G): clips whose true gloss is among the first k of ``TOP_KS``. With
            fewer than k glosses that is every valid clip.
    """

    clips: Tensor
    hits: Tensor

    @classmethod
    def zeros(cls, num_classes: int, device: torch.device) -> ClassCounts:
        """Nothing counted yet."""
        table = torch.zeros(1 + len(TOP_KS), num_classes, dtype=torch.float64, device=device)
        return cls(table[0], table[1:])

    @classmethod
    def of(cls, labels: Tensor, ranks: Tensor, num_classes: int) -> ClassCounts:
        """The counts of clips with these labels, int64 (N,), and ranks, int64 (N,)."""
        counts = cls.zeros(num_classes, labels.device)
        counts.add(labels, ranks)
        return counts

    def add(self, labels: Tensor, ranks: Tensor) -> None:
        """Count more clips; does not wait for the device."""
        limits = torch.tensor(TOP_KS, device=ranks.device).unsqueeze(1)
        self.clips.index_add_(0, labels, torch.ones_like(labels, dtype=torch.float64))
        self.hits.index_add_(1, labels, (ranks < limits).double())

    @property
    def num_clips(self) -> int:
        """N."""
        return int(self.clips.sum())

    @property
    def empty_classes(self) -> list[int]:
        """Labels of the glosses without a clip."""
        return [int(label) for label in (self.clips == 0).nonzero()]

    def top(self, k: int) -> float:
        """Share of all clips whose true gloss is among the first k (per instance), k in TOP_KS."""
        return float(self.hits[TOP_KS.index(k)].sum() / self.clips.sum())

    def class_accuracies(self, k: int) -> Tensor:
        """float64 (G,): the same for each gloss; NaN for a gloss without a clip."""
        return self.hits[TOP_KS.index(k)] / self.clips

    def top_per_class(self, k: int) -> float:
        """Mean over the glosses that have clips of the gloss's own accuracy (per class)."""
        return float(self.class_accuracies(k)[self.clips > 0].mean())


class ClassificationMetrics:
    """Accuracy per instance and per class, and mean cross-entropy, over the clips of all ranks."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._loss = torch.zeros(1, dtype=torch.float64, device=device)
        self._counts: ClassCounts | None = None  # how many glosses there are the logits say

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Add a batch: logits (B, G), labels int64 (B,)."""
        if self._counts is None:
            self._counts = ClassCounts.zeros(logits.shape[1], self._device)
        self._counts.add(labels, label_ranks(logits, labels))
        self._loss += F.cross_entropy(logits.double(), labels, reduction="sum")

    def compute(self) -> dict[str, float]:
        """``val_loss``, ``val_top1``, ``val_top5``, ``val_top10``, ``val_top1_per_class``.

        The same on every rank.
        """
        loss, counts = self._joined()
        return {
            "val_loss": loss / counts.num_clips,
            **{f"val_top{k}": counts.top(k) for k in TOP_KS},
            "val_top1_per_class": counts.top_per_class(1),
        }

    def _joined(self) -> tuple[float, ClassCounts]:
        own_classes = 0 if self._counts is None else len(self._counts.clips)
        # a rank that had no clip does not know how many glosses there are
        num_classes = int(distributed.max_over_ranks(own_classes, self._device))
        own = self._counts or ClassCounts.zeros(num_classes, self._device)
        sums = torch.cat((self._loss, own.clips, own.hits.flatten()))
        loss, clips, hits = (
            distributed.sum_over_ranks(sums)
            .cpu()
            .split((1, num_classes, len(TOP_KS) * num_classes))
        )
        return float(loss), ClassCounts(clips, hits.view(len(TOP_KS), num_classes))


def wilson_interval(num_hits: int, num_clips: int) -> tuple[float, float]:
    """95 % confidence interval of a share (Wilson 1927): sound for few clips and near 0 and 1.

    Args:
        num_clips: at least 1.
    """
    share, z2 = num_hits / num_clips, _Z_95**2
    centre = (share + z2 / (2 * num_clips)) / (1 + z2 / num_clips)
    spread = sqrt(share * (1 - share) / num_clips + z2 / (4 * num_clips**2))
    half = _Z_95 * spread / (1 + z2 / num_clips)
    return max(centre - half, 0.0), min(centre + half, 1.0)
