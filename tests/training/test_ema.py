from __future__ import annotations

from pathlib import Path

import pytest
import torch

from slrtune.training.checkpoint import read_checkpoint
from slrtune.training.ema import WeightAverage
from tests.training.toys import Reports, ToyModel, toy_trainer

RECIPE = {"ema_decay": 0.9, "learning_rate": 0.05, "max_epochs": 4}


def snapshot(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def test_the_average_follows_its_formula_and_covers_batch_norm():
    model = ToyModel(use_batch_norm=True)
    average, expected = WeightAverage(model, decay=0.6), snapshot(model)
    for update in range(4):
        with torch.no_grad():
            for tensor in (*model.parameters(), model.batch_norm.running_mean):
                tensor.add_(torch.randn_like(tensor))
        model.batch_norm.num_batches_tracked += 1
        decay = min(0.6, 1 - (1 + update) ** (-2 / 3))
        average.update()
        for name, now in model.state_dict().items():
            is_float = now.is_floating_point()
            expected[name] = decay * expected[name] + (1 - decay) * now if is_float else now
    own = snapshot(model)
    with average.applied():
        torch.testing.assert_close(snapshot(model), expected)
    assert all(torch.equal(own[name], tensor) for name, tensor in model.state_dict().items())


def test_validation_and_the_best_checkpoint_use_the_average_and_training_does_not(tmp_path: Path):
    averaged, plain = (
        toy_trainer(tmp_path / str(decay), **{**RECIPE, "ema_decay": decay})
        for decay in (0.9, None)
    )
    averaged.fit(Reports())
    plain.fit(Reports())
    trained = averaged.model.state_dict()
    assert all(torch.equal(trained[n], w) for n, w in plain.model.state_dict().items())
    assert averaged.history[-1]["val_loss"] != plain.history[-1]["val_loss"]
    best = read_checkpoint(tmp_path / "0.9" / "best.pt")
    judged = toy_trainer(**RECIPE)
    judged.model.load_state_dict(best["model"])
    judged.stepper.average = None  # what is kept is judged as it is
    assert judged.validate()["val_loss"] == best["metrics"]["val_loss"]


def test_a_skipped_step_leaves_the_average_alone():
    trainer = toy_trainer(model=ToyModel(poisoned_calls=(2,)), **RECIPE)
    steps = iter(trainer.train_loader)
    trainer.train_step(steps)
    with trainer.stepper.judged_weights():
        before = snapshot(trainer.model)
    trainer.train_step(steps)
    assert trainer.stepper.num_skipped_steps == 1
    with trainer.stepper.judged_weights():
        assert all(torch.equal(before[n], w) for n, w in trainer.model.state_dict().items())


def test_a_resumed_average_equals_an_unbroken_one_bit_by_bit(tmp_path: Path):
    def train(folder: Path, stop_epoch: int | None = None) -> dict[str, torch.Tensor]:
        trainer = toy_trainer(folder, ToyModel(dropout=0.3, use_batch_norm=True), **RECIPE)
        trainer.fit(Reports(stop_epoch))
        with trainer.stepper.judged_weights():
            return snapshot(trainer.model)

    unbroken = train(tmp_path / "unbroken")
    train(tmp_path / "resumed", stop_epoch=2)
    resumed = train(tmp_path / "resumed")
    assert all(torch.equal(unbroken[name], resumed[name]) for name in unbroken)


def test_the_weights_come_back_after_a_failed_validation():
    trainer = toy_trainer(**RECIPE)
    trainer.train_epoch()
    before, trainer.val_loader = snapshot(trainer.model), None
    with pytest.raises(TypeError):
        trainer.validate()
    assert all(torch.equal(before[n], w) for n, w in trainer.model.state_dict().items())
