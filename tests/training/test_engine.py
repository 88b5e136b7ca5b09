from __future__ import annotations

import gc
import math
import weakref
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from slrtune.config.errors import UserError
from slrtune.training.checkpoint import read_checkpoint
from slrtune.training.normalization import normalize_frames
from slrtune.training.stepper import TrainingDivergedError
from tests.training.toys import NUM_CLIPS, Reports, ToyModel, toy_clips, toy_trainer


def weights(trainer) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in trainer.model.parameters()])


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_accumulated_micro_batches_equal_one_big_batch():
    big, small = toy_trainer(batch_size=8), toy_trainer(batch_size=8, micro_batch_size=2)
    big_loss, small_loss = big.train_epoch(), small.train_epoch()
    torch.testing.assert_close(weights(small), weights(big), rtol=0, atol=1e-5)
    assert small_loss["train_loss"] == pytest.approx(big_loss["train_loss"], rel=1e-6)


def test_gradients_of_micro_batches_are_those_of_one_big_batch():
    recipe = {"batch_size": 16, "max_epochs": 1, "max_grad_norm": None}
    trainers = [toy_trainer(**recipe), toy_trainer(micro_batch_size=2, **recipe)]
    for trainer in trainers:
        trainer.train_epoch()  # one step
    # AdamW's weights would hide a wrong scale of the gradient, its first moment does not
    big, small = ([s["exp_avg"] for s in t.stepper.optimizer.state.values()] for t in trainers)
    torch.testing.assert_close(small, big, rtol=1e-4, atol=1e-7)


def test_every_epoch_has_its_own_order():
    trainer, epochs = toy_trainer(max_epochs=3), []
    trainer.fit(lambda metrics: epochs.append(trainer.train_loader.epoch) is None)
    assert epochs == [0, 1, 2]


def test_batches_that_micro_batches_do_not_fill_are_refused():
    with pytest.raises(UserError, match=r"4 / \(3 x 1\)"):
        toy_trainer(micro_batch_size=3)


def test_training_learns_and_reports_every_epoch():
    reports = Reports()
    is_stopped = toy_trainer(max_epochs=30, label_smoothing=0.0).fit(reports)
    assert not is_stopped
    assert [metrics["epoch"] for metrics in reports] == list(range(1, 31))
    assert reports[-1]["best_val_top1"] == max(m["val_top1"] for m in reports) > 0.9
    assert reports[-1]["train_loss"] < 0.5 * reports[0]["train_loss"]
    assert reports[-1]["total_s"] == pytest.approx(sum(m["epoch_s"] for m in reports))
    assert all(0 <= m["data_wait_share"] <= 1 and m["peak_memory_gib"] > 0 for m in reports)


def test_the_first_epoch_ends_past_warmup_and_the_last_at_the_minimum():
    reports = Reports()
    toy_trainer(max_epochs=2, learning_rate=0.5, min_learning_rate_ratio=0.1).fit(reports)
    assert reports[-1]["learning_rate"] == pytest.approx(0.05)
    assert 0.05 < reports[0]["learning_rate"] < 0.5


def test_label_smoothing_is_in_the_training_loss_and_not_in_the_validation_loss():
    trainer = toy_trainer(batch_size=16, label_smoothing=0.3, learning_rate=1e-12)
    clips = toy_clips()
    with torch.no_grad():
        logits = trainer.model(normalize_frames(clips.frames))
    smoothed = F.cross_entropy(logits, clips.labels, label_smoothing=0.3).item()
    assert trainer.train_epoch()["train_loss"] == pytest.approx(smoothed, rel=1e-5)
    plain = F.cross_entropy(logits, clips.labels).item()
    assert trainer.validate()["val_loss"] == pytest.approx(plain, rel=1e-5)


@pytest.mark.parametrize("precision", ["float32", "bf16", "fp16"])
def test_clipping_is_in_true_gradient_units(precision):
    trainer = toy_trainer(precision=precision, max_grad_norm=0.01, max_epochs=1, batch_size=16)
    if precision == "fp16":
        # at the usual 65536 the toy's gradients overflow
        trainer.stepper.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    trainer.train_epoch()
    # the first moment after one step is (1 - beta1) x the clipped gradient
    moments = [state["exp_avg"] for state in trainer.stepper.optimizer.state.values()]
    norm = torch.nn.utils.get_total_norm(moments).item() / 0.1
    assert trainer.stepper.num_skipped_steps == 0
    assert norm == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_low_precision_learns_too(precision):
    reports = Reports()
    toy_trainer(max_epochs=30, precision=precision, label_smoothing=0.0).fit(reports)
    assert reports[-1]["best_val_top1"] > 0.9


def test_a_nan_step_is_skipped_and_counted():
    trainer = toy_trainer(model=ToyModel(poisoned_calls=(2,)))
    trained = trainer.train_epoch()
    assert trainer.stepper.num_skipped_steps == 1
    assert trainer.stepper.num_steps == 4
    assert math.isfinite(trained["train_loss"])
    assert weights(trainer).isfinite().all()


def test_a_skipped_step_changes_no_weight():
    trainer = toy_trainer(batch_size=8, model=ToyModel(poisoned_calls=(2,)))
    steps = iter(trainer.train_loader)
    trainer.train_step(steps)
    before = weights(trainer)
    trainer.train_step(steps)
    assert torch.equal(weights(trainer), before)


def test_a_nan_step_does_not_spoil_batch_norm():
    model = ToyModel(use_batch_norm=True, poisoned_calls=(3,))
    trainer = toy_trainer(model=model)
    trainer.train_epoch()
    assert trainer.stepper.num_skipped_steps == 1
    assert model.batch_norm.running_mean.isfinite().all()
    assert math.isfinite(trainer.validate()["val_loss"])


def test_single_nan_steps_far_apart_are_no_divergence():
    model = ToyModel(poisoned_calls=(1, 3, 5, 7, 9))
    trainer = toy_trainer(model=model, max_nonfinite_steps=2, max_epochs=3)
    trainer.fit(Reports())
    assert trainer.stepper.num_skipped_steps == 5


def test_divergence_raises_and_keeps_the_last_good_checkpoint(tmp_path: Path):
    model = ToyModel(poisoned_calls=tuple(range(6, 100)))
    trainer = toy_trainer(tmp_path, model, max_nonfinite_steps=3)
    files_of_epochs = []

    def report(metrics: dict[str, float]) -> bool:
        files_of_epochs.append(files(tmp_path))
        return True

    with pytest.raises(TrainingDivergedError, match=r"3 optimizer steps in a row.*step 8"):
        trainer.fit(report)
    assert len(files_of_epochs) == 1
    assert files(tmp_path) == files_of_epochs[0]
    state = read_checkpoint(tmp_path / "last.pt")
    assert len(state["history"]) == 1
    assert all(tensor.isfinite().all() for tensor in state["model"].values())


def test_an_epoch_without_a_finite_loss_is_divergence():
    trainer = toy_trainer(model=ToyModel(poisoned_calls=(1, 2, 3, 4)))
    with pytest.raises(TrainingDivergedError, match="every loss of epoch 1"):
        trainer.train_epoch()


class Cycle:
    """Garbage that only the collector of cycles finds."""

    def __init__(self) -> None:
        self.itself = self


@pytest.mark.parametrize("is_emptied", [True, False])
def test_garbage_is_gone_before_validation_where_asked_for(is_emptied: bool):
    trainer = toy_trainer(max_epochs=1, empty_cache_each_epoch=is_emptied)
    garbage = weakref.ref(Cycle())
    gc.disable()
    try:
        trainer.validate()
        assert (garbage() is None) is is_emptied
    finally:
        gc.enable()


def test_report_stops_the_trial():
    reports = Reports(stop_epoch=2)
    assert toy_trainer().fit(reports)
    assert len(reports) == 2


def test_patience_stops_after_epochs_without_a_better_accuracy():
    reports = Reports()
    is_stopped = toy_trainer(patience=2, learning_rate=1e-12).fit(reports)
    assert not is_stopped
    assert len(reports) == 3


def test_validation_judges_every_clip_once():
    trainer = toy_trainer(micro_batch_size=1)
    clips = toy_clips()
    trainer.model.eval()
    with torch.no_grad():
        predictions = trainer.model(normalize_frames(clips.frames)).argmax(dim=1)
    num_correct = (predictions == clips.labels).sum().item()
    assert trainer.validate()["val_top1"] == num_correct / NUM_CLIPS
