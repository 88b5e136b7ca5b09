from __future__ import annotations

from pathlib import Path

import torch

from slrtune.training.freezing import EncoderFreeze
from tests.training.toys import Reports, ToyModel, toy_trainer


class NormedEncoder(ToyModel):
    """Its encoder has BatchNorm and dropout."""

    encoder_prefixes = ("encoder.", "batch_norm.", "dropout.")

    def __init__(self, dropout: float = 0.3) -> None:
        super().__init__(dropout, use_batch_norm=True)


def encoder_of(model: ToyModel) -> list[torch.Tensor]:
    state = model.state_dict().items()
    return [tensor.clone() for name, tensor in state if name.startswith(model.encoder_prefixes)]


def same(ours: list[torch.Tensor], theirs: list[torch.Tensor]) -> list[bool]:
    return [torch.equal(a, b) for a, b in zip(ours, theirs, strict=True)]


def test_a_frozen_encoder_keeps_weights_and_statistics_until_its_epoch():
    trainer, encoders, heads = toy_trainer(model=NormedEncoder(), freeze_epochs=2), [], []

    def report(metrics: dict[str, float]) -> bool:
        encoders.append(encoder_of(trainer.model))
        heads.append(trainer.model.head.weight.detach().clone())
        return metrics["epoch"] < 3

    before = encoder_of(trainer.model)
    trainer.fit(report)
    assert all(same(before, encoders[0])) and all(same(before, encoders[1]))
    assert not any(same(before, encoders[2]))
    assert not torch.equal(heads[0], heads[1])


def test_a_frozen_encoder_drops_nothing_and_costs_no_gradient():
    trainer = toy_trainer(model=NormedEncoder(), freeze_epochs=1)
    trainer.begin_epoch()
    assert not trainer.model.dropout.training and trainer.model.norm.training
    batch = next(iter(trainer.train_loader))
    trainer.forward_backward(batch)
    has_gradient = {n for n, p in trainer.model.named_parameters() if p.grad is not None}
    assert has_gradient == {"position", "norm.weight", "norm.bias", "head.weight", "head.bias"}


def test_resuming_across_the_thaw_is_exact(tmp_path: Path):
    def train(folder: Path, stop_epoch: int | None = None) -> dict[str, torch.Tensor]:
        trainer = toy_trainer(folder, NormedEncoder(), freeze_epochs=2, max_epochs=4)
        trainer.fit(Reports(stop_epoch))
        return trainer.model.state_dict()

    unbroken = train(tmp_path / "unbroken")
    for stop_epoch in (1, 2, 3, None):
        resumed = train(tmp_path / "resumed", stop_epoch)
    assert all(torch.equal(unbroken[name], resumed[name]) for name in unbroken)


def test_what_a_model_froze_for_good_is_not_thawed():
    model = ToyModel()
    model.encoder.bias.requires_grad_(False)
    freeze = EncoderFreeze(model, num_epochs=1)
    assert freeze.begin_epoch(0) and not freeze.begin_epoch(0)
    assert freeze.begin_epoch(1)
    assert model.encoder.weight.requires_grad and not model.encoder.bias.requires_grad


def test_the_peak_memory_of_the_thawed_epochs_counts():
    frozen, thawed = (Reports() for _ in range(2))
    toy_trainer(max_epochs=2, freeze_epochs=2).fit(frozen)
    toy_trainer(max_epochs=2, freeze_epochs=1).fit(thawed)
    assert frozen[0]["peak_memory_gib"] == thawed[0]["peak_memory_gib"]
    assert frozen[1]["peak_memory_gib"] < thawed[1]["peak_memory_gib"]
