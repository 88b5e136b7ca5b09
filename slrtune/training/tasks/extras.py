"""What a translator may learn beside the text: which glosses there are, where landmarks are, and
where to look.

Shapes: B clips of a batch, T frames, G glosses, K landmarks, R regions, P patches of a frame.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from slrtune.config.training import TrainingConfig
from slrtune.training import distributed

_REGION_WEIGHT = 0.1
"""Of where to look: easy to learn, and a help to the text rather than an aim."""


def extra_losses(
    config: TrainingConfig,
    extras: Mapping[str, Tensor],
    glosses: Sequence[list[int]],
    keypoints: Tensor | None,
    regions: Sequence[tuple[int, int]] = (),
) -> Tensor | float:
    """Float32 (B,): weighted losses of what the model predicts besides; 0 where nothing is known.

    Args:
        extras: of :class:`TranslatorOutput`.
        glosses: ids of each clip, from 1 on.
        keypoints: of the batch, NaN where not known.
        regions: landmarks [first, last) of each.
    """
    losses: Tensor | float = 0.0
    if "gloss" in extras:
        losses = losses + config.gloss_weight * gloss_losses(extras["gloss"], glosses)
    if "keypoints" in extras:
        assert keypoints is not None  # whoever builds the head has the loader give them
        losses = losses + config.keypoint_weight * keypoint_losses(extras["keypoints"], keypoints)
    if "regions" in extras:
        assert keypoints is not None
        looked = region_losses(extras["regions"], keypoints, regions)
        losses = losses + _REGION_WEIGHT * looked
    return losses


def gloss_losses(logits: Tensor, glosses: Sequence[list[int]]) -> Tensor:
    """Float32 (B,): cross-entropy of logits (B, G) with equal shares for the glosses of a clip
    (Mahajan et al. 2018, of hashtags); 0 where it has none."""
    wanted = _bags(glosses, logits)
    shares = wanted / wanted.sum(dim=1, keepdim=True).clamp(min=1)
    return -(shares * logits.float().log_softmax(dim=1)).sum(dim=1)


def keypoint_losses(predicted: Tensor, keypoints: Tensor) -> Tensor:
    """Float32 (B,): mean absolute error of x and of y, added up, over the known landmarks of a
    clip; 0 where none is known. Both (B, T, K, 2)."""
    is_known = keypoints.isfinite()
    errors = (predicted.float() - keypoints.nan_to_num()).abs() * is_known
    return 2 * errors.flatten(1).sum(dim=1) / is_known.flatten(1).sum(dim=1).clamp(min=1)


def region_losses(scores: Tensor, keypoints: Tensor, regions: Sequence[tuple[int, int]]) -> Tensor:
    """Float32 (B,): cross-entropy of scores (B, T, R, P) with where the landmarks of each region
    are, on average over frames and regions with any known; 0 where none is."""
    shares, is_known = _region_shares(keypoints, regions, scores.shape[-1])
    losses = -(shares * scores.float().log_softmax(dim=-1)).sum(dim=-1)
    return losses.flatten(1).sum(dim=1) / is_known.flatten(1).sum(dim=1).clamp(min=1)


def _region_shares(
    keypoints: Tensor, regions: Sequence[tuple[int, int]], num_patches: int
) -> tuple[Tensor, Tensor]:
    """Of keypoints (B, T, K, 2): share of a region's known landmarks in each patch, float32
    (B, T, R, P), and whether there are any, (B, T, R)."""
    side = math.isqrt(num_patches)
    is_seen = keypoints.isfinite().all(dim=-1)
    columns, rows = (keypoints.nan_to_num() * side).long().clamp(0, side - 1).unbind(dim=-1)
    patches, seen = rows * side + columns, is_seen.float()
    counts = torch.stack(
        [
            seen.new_zeros(*seen.shape[:2], num_patches).scatter_add(
                2, patches[..., first:last], seen[..., first:last]
            )
            for first, last in regions
        ],
        dim=2,
    )
    totals = counts.sum(dim=-1)
    return counts / totals.clamp(min=1)[..., None], totals > 0


class ExtraFigures:
    """How well a validation split is told: sums over clips, then over ranks."""

    def __init__(self, device: torch.device, regions: Sequence[tuple[int, int]] = ()) -> None:
        # found and wanted glosses, distances and number of landmarks, looks at regions and their
        # number
        self._sums = torch.zeros(6, dtype=torch.float64, device=device)
        self._regions = regions

    def count(
        self,
        extras: Mapping[str, Tensor],
        glosses: Sequence[list[int]],
        keypoints: Tensor | None,
    ) -> None:
        """Add a batch."""
        if "gloss" in extras:
            wanted = _bags(glosses, extras["gloss"]).bool()
            num_wanted = wanted.sum(dim=1, keepdim=True)
            ranks = extras["gloss"].argsort(dim=1, descending=True).argsort(dim=1)
            self._sums[0] += (wanted & (ranks < num_wanted)).sum()
            self._sums[1] += num_wanted.sum()
        if "keypoints" in extras and keypoints is not None:
            distances = (extras["keypoints"].float() - keypoints).norm(dim=-1)
            is_known = distances.isfinite()
            self._sums[2] += distances.nan_to_num().where(is_known, 0.0).sum()
            self._sums[3] += is_known.sum()

        if "regions" in extras and keypoints is not None:
            looks = extras["regions"].float().softmax(dim=-1)
            shares, is_known = _region_shares(keypoints, self._regions, looks.shape[-1])
            self._sums[4] += (looks * (shares > 0)).sum()
            self._sums[5] += is_known.sum()

    def compute(self) -> dict[str, float]:
        """``val_gloss_recall``: share of the glosses found among the best guesses, as many as the
        clip has glosses. ``val_keypoint_error``: mean distance in sides of the picture.
        ``val_region_attention``: share of the attention that goes to patches with landmarks of the
        region. Each where something was counted."""
        sums = distributed.sum_over_ranks(self._sums).tolist()
        found, wanted, distance, known, looked, regions = sums
        figures = {}
        if wanted:
            figures["val_gloss_recall"] = found / wanted
        if known:
            figures["val_keypoint_error"] = distance / known
        if regions:
            figures["val_region_attention"] = looked / regions
        return figures


def _bags(glosses: Sequence[list[int]], logits: Tensor) -> Tensor:
    """Float32 (B, G): 1 where a gloss is in the clip, else 0."""
    bags = [set(line) for line in glosses]
    rows = [[float(gloss in bag) for gloss in range(1, logits.shape[1] + 1)] for bag in bags]
    return torch.tensor(rows).to(logits.device, non_blocking=True)
