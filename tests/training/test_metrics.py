from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from slrtune.training.metrics import (
    NEVER,
    ClassCounts,
    ClassificationMetrics,
    label_ranks,
    wilson_interval,
)

CPU = torch.device("cpu")
INF, NAN = float("inf"), float("nan")


def test_ranks_of_the_true_gloss_match_hand_values():
    logits = torch.tensor([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0], [1.0, 2.0, 3.0]])
    assert label_ranks(logits, torch.tensor([0, 1, 0])).tolist() == [0, 1, 2]


def test_equal_logits_rank_by_index_so_a_constant_model_scores_chance():
    ranks = label_ranks(torch.zeros(4, 4), torch.arange(4))
    assert ranks.tolist() == [0, 1, 2, 3]


def test_a_broken_logit_is_never_correct():
    logits = torch.tensor([[NAN, NAN], [INF, 0.0], [5.0, NAN]])
    assert label_ranks(logits, torch.tensor([0, 0, 0])).tolist() == [NEVER] * 3


def test_top1_top5_and_loss_match_hand_values_over_uneven_batches():
    logits = torch.arange(7.0).repeat(7, 1)
    metrics = ClassificationMetrics(CPU)
    metrics.update(logits[:5], torch.arange(5))
    metrics.update(logits[5:], torch.arange(5, 7))
    result = metrics.compute()
    assert result["val_top1"] == pytest.approx(1 / 7)  # only label 6 has the largest logit
    assert result["val_top5"] == pytest.approx(5 / 7)  # labels 2 to 6
    assert result["val_loss"] == pytest.approx(torch.arange(7.0).logsumexp(0).item() - 3.0)


def test_top5_with_fewer_than_five_glosses_counts_every_clip_but_the_broken_ones():
    metrics = ClassificationMetrics(CPU)
    logits = torch.randn(6, 3)
    logits[4] = NAN
    metrics.update(logits, torch.zeros(6, dtype=torch.long))
    assert metrics.compute()["val_top5"] == pytest.approx(5 / 6)


def brute_force(logits: np.ndarray, labels: np.ndarray, k: int) -> tuple[float, float]:
    """Top-k per instance and per class, clip by clip, by sorting (logit, index)."""
    hits: dict[int, list[bool]] = {}
    for row, label in zip(logits, labels, strict=True):
        best = sorted(range(len(row)), key=lambda index: (-row[index], index))[:k]
        is_hit = bool(np.isfinite(row).all()) and label in best
        hits.setdefault(int(label), []).append(is_hit)
    every = [hit for of_class in hits.values() for hit in of_class]
    return float(np.mean(every)), float(np.mean([np.mean(each) for each in hits.values()]))


@pytest.mark.parametrize("num_classes", [3, 8, 40])
def test_counts_match_a_brute_force_reference_with_ties_nan_and_empty_classes(num_classes: int):
    rng = np.random.default_rng(num_classes)
    logits = rng.integers(-3, 4, (200, num_classes)).astype(np.float32)  # many ties
    labels = rng.choice(np.arange(1, num_classes, 2), 200)  # every other class is empty
    logits[np.arange(150), labels[:150]] += 2
    logits[::17, 0] = np.nan
    logits[5::23, -1] = np.inf
    metrics = ClassificationMetrics(CPU)
    for batch in np.array_split(np.arange(200), 7):
        metrics.update(torch.from_numpy(logits[batch]), torch.from_numpy(labels[batch]))
    result = metrics.compute()
    ranks = label_ranks(torch.from_numpy(logits), torch.from_numpy(labels))
    counts = ClassCounts.of(torch.from_numpy(labels), ranks, num_classes)
    for k in (1, 5, 10):
        per_instance, per_class = brute_force(logits, labels, k)
        assert result[f"val_top{k}"] == counts.top(k) == per_instance
        assert counts.top_per_class(k) == pytest.approx(per_class, abs=1e-15)
    assert result["val_top1_per_class"] == counts.top_per_class(1)
    assert counts.empty_classes == list(range(0, num_classes, 2))
    assert counts.num_clips == 200


def test_loss_is_summed_in_float64_and_does_not_depend_on_batches():
    torch.manual_seed(0)
    logits, labels = 30 * torch.randn(1000, 50), torch.randint(50, (1000,))
    losses = []
    for size in (1000, 7):
        metrics = ClassificationMetrics(CPU)
        for part, part_labels in zip(logits.split(size), labels.split(size), strict=True):
            metrics.update(part, part_labels)
        losses.append(metrics.compute()["val_loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-14)


def test_the_wilson_interval_matches_published_values():
    # Newcombe 1998, table I, method 3
    for hits, clips, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        assert wilson_interval(hits, clips) == pytest.approx((low, high), abs=5e-5)
    assert wilson_interval(7, 7)[1] == 1.0
    assert not any(map(math.isnan, wilson_interval(0, 1)))
