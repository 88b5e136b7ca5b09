"""A trial that goes on from the weights of another: which weights, figures and settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from slrtune.config.errors import UserError
from slrtune.training.checkpoint import CheckpointStore, read_checkpoint
from slrtune.training.engine import Trainer
from slrtune.training.inheritance import hand_over, take_over, withdraw
from tests.training.toys import Reports, toy_trainer

_HOPELESS = {"learning_rate": 1e-7, "weight_decay": 0.0}
_GOOD = {"learning_rate": 0.05, "weight_decay": 0.1}
_BETTER = {"learning_rate": 0.04, "weight_decay": 0.2, "label_smoothing": 0.0}


def train(folder: Path, until: int | None = None, **settings: Any) -> tuple[Trainer, Reports]:
    reports = Reports(until)
    trainer = toy_trainer(folder, max_epochs=6, **settings)
    trainer.fit(reports)
    return trainer, reports


@pytest.fixture
def population(tmp_path: Path) -> tuple[Path, Path]:
    """A winner and a loser, both after three epochs; what the first has was handed over."""
    winner, loser = tmp_path / "winner", tmp_path / "loser"
    train(winner, 3, **_GOOD)
    train(loser, 3, **_HOPELESS)
    hand_over(winner, loser)
    return winner, loser


def state_of(file: Path) -> dict[str, Any]:
    return read_checkpoint(file)


def test_it_has_the_weights_of_the_winner_and_the_figures_of_its_own(
    population: tuple[Path, Path],
) -> None:
    winner, loser = population
    before = state_of(loser / "last.pt")
    take_over(toy_trainer(loser, **_BETTER).checkpoints)  # type: ignore[arg-type]
    after, given = state_of(loser / "last.pt"), state_of(winner / "last.pt")
    assert all(torch.equal(after["model"][name], given["model"][name]) for name in given["model"])
    assert after["history"] == before["history"] != given["history"]
    assert after["experiment"] != given["experiment"]
    assert not (loser / "inherited.pt").exists()


def test_it_learns_with_its_new_settings_and_gets_better_than_it_ever_was(
    population: tuple[Path, Path],
) -> None:
    _, loser = population
    hopeless = state_of(loser / "best.pt")["metrics"]
    trainer, reports = train(loser, **_BETTER)
    assert [report["epoch"] for report in reports] == [3, 4, 5, 6]
    assert reports[0] == state_of(loser / "previous.pt")["history"][2]
    assert reports[1]["learning_rate"] > 0.01 > 1e-7
    groups = {g["name"]: g["weight_decay"] for g in trainer.stepper.optimizer.param_groups}
    assert groups == {"encoder": 0.2, "encoder_no_decay": 0, "head": 0.2, "head_no_decay": 0}
    best = state_of(loser / "best.pt")["metrics"]
    assert (best["epoch"] > 3, best["val_top1"] > hopeless["val_top1"]) == (True, True)


def test_a_worker_that_dies_on_the_way_does_the_same_again(
    population: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, loser = population
    store = toy_trainer(loser, **_BETTER).checkpoints
    assert store is not None
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Path, "unlink", _die)
        take_over(store)
    once = state_of(loser / "last.pt")
    take_over(store)
    again = state_of(loser / "last.pt")
    assert once["history"] == again["history"]
    assert all(torch.equal(once["model"][name], again["model"][name]) for name in once["model"])


def _die(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_settings_that_cannot_change_are_refused(population: tuple[Path, Path]) -> None:
    _, loser = population
    with pytest.raises(UserError, match=r"training\.batch_size was 4 and is now 8"):
        train(loser, batch_size=8, **_BETTER)


def test_without_an_inheritance_every_changed_setting_is_refused(
    population: tuple[Path, Path],
) -> None:
    _, loser = population
    withdraw(loser)
    with pytest.raises(UserError, match=r"training\.label_smoothing was 0\.1 and is now 0\.0"):
        train(loser, **_BETTER)


def test_a_damaged_inheritance_is_no_silent_start_with_other_weights(
    population: tuple[Path, Path],
) -> None:
    winner, loser = population
    assert (loser / "inherited.pt").samefile(winner / "last.pt")  # takes no room of its own
    (loser / "inherited.pt").unlink()
    (loser / "inherited.pt").write_bytes((winner / "last.pt").read_bytes()[:-100])
    with pytest.raises(UserError, match=r"inherited\.pt is damaged"):
        train(loser, **_BETTER)


def test_the_winner_goes_on_as_if_nothing_had_happened(population: tuple[Path, Path]) -> None:
    winner, loser = population
    train(winner, **_GOOD)
    assert isinstance(toy_trainer(loser, **_BETTER).checkpoints, CheckpointStore)
    given = state_of(loser / "inherited.pt")
    assert len(given["history"]) == 3  # what was handed over, although the winner went on
