from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from slrtune.data.loader import ClipBatch
from slrtune.training.evaluation import (
    NO_PREDICTION,
    average_views,
    judge,
    predict_split,
)
from slrtune.training.metrics import NEVER
from slrtune.training.peak_memory import StorageTracker
from slrtune.training.precision import resolve_precision
from tests.training.toys import CPU, NUM_CLASSES, ToyModel, toy_clips, toy_trainer

NAN, INF = float("nan"), float("inf")


class Clips:
    """A loader of given frames (N, V, T, C, H, W) in batches."""

    def __init__(self, frames: Tensor, labels: Tensor, batch_size: int = 4) -> None:
        self.batches = [
            ClipBatch(frames[ids], labels[ids], ids)
            for ids in torch.arange(len(labels)).split(batch_size)
        ]

    def __iter__(self) -> Iterator[ClipBatch]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)

    def set_epoch(self, epoch: int, num_done: int = 0) -> None: ...


def predict(frames: Tensor, labels: Tensor, model: nn.Module | None = None, **loader: int):
    return predict_split(
        model or ToyModel(),
        Clips(frames, labels, **loader),
        torch.arange(NUM_CLASSES),
        resolve_precision("float32", CPU),
        CPU,
        lambda done: None,
    )[0]


def test_one_view_gives_the_figures_of_validation():
    trainer = toy_trainer(max_epochs=1)
    trainer.train_epoch()  # neither all right nor all wrong
    validated = trainer.validate()
    clips = toy_clips()
    predictions = predict(clips.frames.unsqueeze(1), clips.labels, trainer.model)
    assert 0 < validated["val_top1"] < 1
    for k in (1, 5, 10):
        assert validated[f"val_top{k}"] == (predictions.ranks < k).double().mean()
    assert validated["val_loss"] == pytest.approx(float(predictions.losses.mean()), rel=1e-12)


def test_views_are_averaged_as_probabilities():
    torch.manual_seed(0)
    clips = toy_clips()
    views = torch.stack([clips.frames, clips.frames.flip(-1), clips.frames.flip(1)], dim=1)
    model = ToyModel().eval()
    predictions = predict(views, clips.labels, model)
    with torch.no_grad():
        alone = [predict(view.unsqueeze(1), clips.labels, model) for view in views.unbind(1)]
    mean = np.zeros((len(clips.labels), NUM_CLASSES))
    for each in alone:
        assert each.top_labels.shape[1] == 5
        np.put_along_axis(kept := np.full_like(mean, np.nan), each.top_labels.numpy(),
                          each.top_probabilities.numpy(), axis=1)  # fmt: skip
        # the sixth is what is left of one
        kept = np.where(np.isnan(kept), 1 - np.nansum(kept, axis=1, keepdims=True), kept)
        mean += kept / 3
    expected = np.take_along_axis(mean, predictions.top_labels.numpy(), axis=1)
    np.testing.assert_allclose(predictions.top_probabilities.numpy(), expected, atol=1e-9)
    assert predictions.predicted.tolist() == mean.argmax(1).tolist()


def test_the_average_of_views_keeps_the_order_of_hopeless_glosses_and_one_views_logits():
    logits = torch.tensor([[[900.0, -900.0, -901.0]], [[900.0, -900.0, -901.0]]])
    scores = average_views(logits)
    assert scores.isfinite().all()
    assert scores[0].argsort(descending=True).tolist() == [0, 1, 2]
    assert torch.equal(average_views(logits[:1]), logits[0])


def test_a_gloss_that_the_model_does_not_know_is_wrong_and_has_no_finite_loss():
    outcome = judge(torch.tensor([[3.0, 1.0]] * 2), torch.tensor([2, 0]), torch.arange(2))
    assert outcome.ranks.tolist() == [NEVER, 0]
    assert outcome.losses[0] == INF
    assert outcome.predicted.tolist() == [0, 0]


def test_a_clip_with_a_broken_view_is_wrong_and_has_no_prediction():
    views = torch.tensor([[[3.0, 1.0], [3.0, 1.0]], [[NAN, 1.0], [3.0, 1.0]]])
    outcome = judge(average_views(views), torch.tensor([0, 0]), torch.arange(2))
    assert outcome.ranks.tolist() == [NEVER, 0]
    assert outcome.top_labels[0].tolist() == [NO_PREDICTION, NO_PREDICTION]
    assert outcome.losses.isfinite().tolist() == [False, True]


def test_kept_predictions_are_in_the_order_that_ranks_count_in():
    torch.manual_seed(0)
    scores = torch.randint(0, 3, (500, 9)).float()  # ties everywhere
    labels = torch.randint(9, (500,))
    outcome = judge(scores, labels, torch.arange(500))
    for rank, label, kept in zip(
        outcome.ranks.tolist(), labels.tolist(), outcome.top_labels.tolist(), strict=True
    ):
        assert (kept[rank] == label) if rank < 5 else (label not in kept)


def test_inference_keeps_no_copy_of_the_weights_in_low_precision():
    model = nn.Sequential(*(nn.Linear(256, 256) for _ in range(8)))
    peaks = []
    for is_inference in (False, True):
        tracker = StorageTracker()
        precision = resolve_precision("bf16", CPU)
        with torch.no_grad(), tracker, precision.autocast(is_inference=is_inference):
            model(torch.ones(1, 256))
        peaks.append(tracker.peak_bytes)
    one_layer = 256 * 256 * 2
    assert peaks[0] - peaks[1] > 6 * one_layer  # all eight, but for the one in use
