"""Exact accuracy and loss of a pass over a split: sums of counts, joined over ranks once."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from slrtune.training import distributed


def label_ranks(logits: Tensor, labels: Tensor) -> Tensor:
    """How many glosses the model puts before the true one; 0 = it is the prediction.

    Equal logits rank by index, so that a prediction is the same on every device; a clip with a
    NaN or infinite logit ranks last, else a broken model would look perfect.

    Args:
        logits: (B, G).
        labels: int64 (B,).

    Returns:
        int64 (B,), from 0 to G.
    """
    label_column = labels.unsqueeze(1)
    label_logits = logits.gather(1, label_column)
    index = torch.arange(logits.shape[1], device=logits.device)
    is_ahead = (logits > label_logits) | ((logits == label_logits) & (index < label_column))
    is_valid = logits.isfinite().all(dim=1)
    return torch.where(is_valid, is_ahead.sum(dim=1), logits.shape[1])


class ClassificationMetrics:
    """Top-1, top-5 and mean cross-entropy over all clips seen by all ranks."""

    def __init__(self, device: torch.device) -> None:
        # loss, top-1, top-5, clips; float64 counts exactly up to 2**53
        self._sums = torch.zeros(4, dtype=torch.float64, device=device)

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Add a batch: logits (B, G), labels int64 (B,)."""
        logits = logits.float()
        ranks = label_ranks(logits, labels)
        loss = F.cross_entropy(logits, labels, reduction="sum")
        count = torch.full_like(loss, labels.shape[0])
        self._sums += torch.stack((loss, (ranks < 1).sum(), (ranks < 5).sum(), count))

    def compute(self) -> dict[str, float]:
        """``val_loss``, ``val_top1``, ``val_top5``; the same on every rank.

        With fewer than five glosses every valid clip counts for top-5.
        """
        loss, top1, top5, count = distributed.sum_over_ranks(self._sums.clone()).tolist()
        return {"val_loss": loss / count, "val_top1": top1 / count, "val_top5": top5 / count}
