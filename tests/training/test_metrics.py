from __future__ import annotations

import pytest
import torch

from slrtune.training.metrics import ClassificationMetrics, label_ranks

INF, NAN = float("inf"), float("nan")


def test_ranks_of_the_true_gloss_match_hand_values():
    logits = torch.tensor([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0], [1.0, 2.0, 3.0]])
    assert label_ranks(logits, torch.tensor([0, 1, 0])).tolist() == [0, 1, 2]


def test_equal_logits_rank_by_index_so_a_constant_model_scores_chance():
    ranks = label_ranks(torch.zeros(4, 4), torch.arange(4))
    assert ranks.tolist() == [0, 1, 2, 3]


def test_a_broken_logit_is_never_correct():
    logits = torch.tensor([[NAN, NAN], [INF, 0.0], [5.0, NAN]])
    assert label_ranks(logits, torch.tensor([0, 0, 0])).tolist() == [2, 2, 2]


def test_top1_top5_and_loss_match_hand_values_over_uneven_batches():
    logits = torch.arange(7.0).repeat(7, 1)
    metrics = ClassificationMetrics(torch.device("cpu"))
    metrics.update(logits[:5], torch.arange(5))
    metrics.update(logits[5:], torch.arange(5, 7))
    result = metrics.compute()
    assert result["val_top1"] == pytest.approx(1 / 7)  # only label 6 has the largest logit
    assert result["val_top5"] == pytest.approx(5 / 7)  # labels 2 to 6
    assert result["val_loss"] == pytest.approx(torch.arange(7.0).logsumexp(0).item() - 3.0)


def test_top5_with_fewer_than_five_glosses_counts_every_clip():
    metrics = ClassificationMetrics(torch.device("cpu"))
    metrics.update(torch.randn(6, 3), torch.zeros(6, dtype=torch.long))
    assert metrics.compute()["val_top5"] == 1.0
