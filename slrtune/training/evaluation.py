"""What a model makes of each clip of a split: a pass without gradients, over one or more views.

Shapes: N clips of the split, B clips of a batch, V views, T frames, C channels, H W pixels,
G glosses that the model knows, K predictions that are kept.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from slrtune.models.registry import VideoModel
from slrtune.training.batches import Loader, TimedIterator
from slrtune.training.metrics import NEVER, label_ranks
from slrtune.training.normalization import frame_layout, normalize_frames
from slrtune.training.peak_memory import PeakMemory
from slrtune.training.precision import Precision

NUM_KEPT = 5
NO_PREDICTION = -1


@dataclass(frozen=True)
class Predictions:
    """Outcome of each clip, in the loader's order, on the CPU.

    Attributes:
        clip_ids: int64 (N,), places in the manifest.
        labels: int64 (N,); G or more for a gloss that the model does not know.
        ranks: int64 (N,): glosses before the true one; NEVER where it cannot be right.
        losses: float64 (N,), cross-entropy; infinite for a gloss that the model does not know,
            NaN for logits that are not finite.
        top_labels: int64 (N, K), most likely first; NO_PREDICTION for logits that are not finite.
        top_probabilities: float64 (N, K).
    """

    clip_ids: Tensor
    labels: Tensor
    ranks: Tensor
    losses: Tensor
    top_labels: Tensor
    top_probabilities: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def predicted(self) -> Tensor:
        """int64 (N,): the most likely gloss, or NO_PREDICTION."""
        return self.top_labels[:, 0]


@dataclass(frozen=True)
class InferenceCost:
    """What a pass took.

    Attributes:
        wall_s: seconds, loading included.
        data_wait_share: share of them spent waiting for clips.
        peak_memory_gib: see :class:`PeakMemory`.
    """

    wall_s: float
    data_wait_share: float
    peak_memory_gib: float


@torch.inference_mode()
def predict_split(
    model: VideoModel,
    loader: Loader,
    model_labels: Tensor,
    precision: Precision,
    device: torch.device,
    on_clips: Callable[[int], None],
) -> tuple[Predictions, InferenceCost]:
    """Judge every clip of a loader that gives frames (B, V, T, C, H, W).

    Views go through the model one after the other: several need no more memory than one.

    Args:
        model: on ``device``; is put into evaluation mode.
        model_labels: int64, the model's label for each label of the loader; G or more for a gloss
            that the model does not know.
        on_clips: told after each batch how many clips are done.
    """
    model.eval()
    layout = frame_layout(model)
    started_s = time.perf_counter()
    memory, batches = PeakMemory(model, device), TimedIterator(loader)
    outcomes: list[Predictions] = []
    num_done = 0
    for batch in batches:
        with memory.measuring(), precision.autocast(is_inference=True):
            views = [
                model(normalize_frames(view.to(device, non_blocking=True), layout))
                for view in batch.frames.unbind(dim=1)
            ]
        memory.end_step()
        labels = model_labels[batch.labels]
        outcomes.append(judge(average_views(torch.stack(views)), labels, batch.clip_ids))
        num_done += len(batch)
        on_clips(num_done)
    wall_s = time.perf_counter() - started_s
    cost = InferenceCost(wall_s, batches.wait_s / wall_s, memory.peak_gib)
    return _concatenated(outcomes), cost


def average_views(logits: Tensor) -> Tensor:
    """Scores whose softmax is the mean of the views' probabilities.

    In logarithms, so that unlikely glosses keep their order; one view keeps its very logits.

    Args:
        logits: (V, B, G).

    Returns:
        (B, G).
    """
    if len(logits) == 1:
        return logits[0]
    return logits.double().log_softmax(dim=2).logsumexp(dim=0) - math.log(len(logits))


def judge(scores: Tensor, labels: Tensor, clip_ids: Tensor) -> Predictions:
    """Compare scores (B, G), logits or log-probabilities, with the true labels, int64 (B,)."""
    scores = scores.cpu().double()
    is_known = labels < scores.shape[1]
    known_labels = torch.where(is_known, labels, 0)
    ranks = torch.where(is_known, label_ranks(scores, known_labels), NEVER)
    losses = F.cross_entropy(scores, known_labels, reduction="none")
    # a stable sort puts equal scores in the order that label_ranks counts in
    order = scores.argsort(dim=1, descending=True, stable=True)[:, :NUM_KEPT]
    probabilities = scores.softmax(dim=1).gather(1, order)
    is_valid = scores.isfinite().all(dim=1, keepdim=True)
    return Predictions(
        clip_ids=clip_ids,
        labels=labels,
        ranks=ranks,
        losses=torch.where(is_known | ~is_valid.squeeze(1), losses, math.inf),
        top_labels=torch.where(is_valid, order, NO_PREDICTION),
        top_probabilities=torch.where(is_valid, probabilities, math.nan),
    )


def _concatenated(parts: list[Predictions]) -> Predictions:
    return Predictions(
        **{name: torch.cat([getattr(part, name) for part in parts]) for name in vars(parts[0])}
    )
