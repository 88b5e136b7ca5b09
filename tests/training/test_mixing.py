from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from slrtune.config.training import TrainingConfig
from slrtune.training.mixing import Mix, draw_mix, draw_mixes, mix_inputs, mix_labels
from tests.training.toys import Reports, ToyModel, toy_clips, toy_trainer

MIXUP, CUTMIX = TrainingConfig(mixup_alpha=0.8), TrainingConfig(cutmix_alpha=1.0)


def test_mixup_blends_a_clip_and_its_label_with_the_one_before_it():
    clips = torch.rand(3, 2, 3, 4, 4)
    mixes = [Mix(1.0), Mix(0.25), Mix(0.5)]
    mixed = mix_inputs(clips.clone(), mixes)
    torch.testing.assert_close(mixed[0], clips[0])
    torch.testing.assert_close(mixed[1], 0.25 * clips[1] + 0.75 * clips[0])
    torch.testing.assert_close(mixed[2], 0.5 * clips[2] + 0.5 * clips[1])
    targets = mix_labels(torch.tensor([3, 0, 0]), mixes, num_glosses=4)
    expected = [[0, 0, 0, 1], [0.25, 0, 0, 0.75], [1, 0, 0, 0]]
    torch.testing.assert_close(targets, torch.tensor(expected))


def test_cutmix_puts_the_same_box_into_every_frame_and_counts_its_area():
    clips = torch.rand(2, 5, 3, 12, 16)
    mixes = [draw_mix(CUTMIX, np.random.default_rng(seed), 12, 16) for seed in (1, 2)]
    mixed = mix_inputs(clips.clone(), mixes)
    for clip, other, result, mix in zip(clips, clips.flip(0), mixed, mixes, strict=True):
        is_own = (result == clip)[:, 0]
        assert torch.equal(is_own, is_own[:1].expand(5, -1, -1))
        assert 0 < mix.share < 1
        assert is_own.float().mean().item() == pytest.approx(mix.share)
        top, bottom, left, right = mix.box
        box = (..., slice(top, bottom), slice(left, right))
        assert torch.equal(result[box], other[box])


def test_shares_are_distributed_as_the_papers_say():
    for config in (MIXUP, CUTMIX):
        shares = [draw_mix(config, np.random.default_rng(i), 64, 64).share for i in range(500)]
        # boxes over the edge are cut off: of s in one direction s - s^2/4 is left on average,
        # which squared over s^2 from 0 to 1 is 0.32 of the area
        assert np.mean(shares) == pytest.approx(0.5 if config is MIXUP else 0.68, abs=0.04)
    both = TrainingConfig(mixup_alpha=0.8, cutmix_alpha=1.0)
    has_box = [draw_mix(both, np.random.default_rng(i), 64, 64).box is not None for i in range(500)]
    assert np.mean(has_box) == pytest.approx(0.5, abs=0.1)


def test_a_mix_depends_on_seed_epoch_and_clip_alone():
    clips = toy_clips()
    whole = draw_mixes(MIXUP, 3, clips)
    torch.manual_seed(5)  # does not matter
    part = type(clips)(clips.frames[4:6], clips.labels[4:6], clips.clip_ids[4:6])
    assert draw_mixes(MIXUP, 3, part) == whole[4:6]
    assert draw_mixes(MIXUP, 4, clips) != whole
    assert draw_mixes(MIXUP.model_copy(update={"seed": 1}), 3, clips) != whole
    assert draw_mixes(TrainingConfig(), 3, clips) == []


def test_mixed_labels_and_smoothing_are_both_in_the_loss():
    logits, labels = torch.randn(2, 6), torch.tensor([1, 4])
    mixes = [Mix(0.7), Mix(0.2)]
    targets = mix_labels(labels, mixes, 6)
    loss = F.cross_entropy(logits, targets, reduction="none", label_smoothing=0.1)
    own, other = (
        F.cross_entropy(logits, each, reduction="none", label_smoothing=0.1)
        for each in (labels, labels.flip(0))
    )
    share = torch.tensor([0.7, 0.2])
    torch.testing.assert_close(loss, share * own + (1 - share) * other)


@pytest.mark.parametrize("kind", ["mixup_alpha", "cutmix_alpha"])
def test_a_mixed_trial_learns_and_resumes_bit_by_bit(tmp_path: Path, kind):
    def train(folder: Path, stop_epoch: int | None = None):
        trainer = toy_trainer(folder, ToyModel(dropout=0.1), max_epochs=8, **{kind: 0.4})
        trainer.fit(Reports(stop_epoch))
        return trainer

    unbroken = train(tmp_path / "unbroken")
    assert unbroken.best["val_loss"] < 0.9 * unbroken.history[0]["val_loss"]
    train(tmp_path / "resumed", stop_epoch=3)
    resumed = train(tmp_path / "resumed").model.state_dict()
    assert all(torch.equal(resumed[n], w) for n, w in unbroken.model.state_dict().items())
