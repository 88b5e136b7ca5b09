"""A folder for checkpoints that is away for a while, or full: the engine waits, or says so."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer

import pytest
import torch

from slrtune.config.patience import StorageError
from slrtune.training.checkpoint import read_checkpoint
from slrtune.training.engine import Trainer
from tests.training.toys import toy_trainer

_NUM_EPOCHS = 4


def trained_in(folder: Path, after_epoch_2: Callable[[], None], patience_s: float) -> Trainer:
    """Train to the end, or to the first error; something happens after epoch 2."""
    trainer = toy_trainer(folder, max_epochs=_NUM_EPOCHS)
    assert trainer.checkpoints is not None
    trainer.checkpoints.patience_s = patience_s

    def report(metrics: dict[str, float]) -> bool:
        if metrics["epoch"] == 2:
            after_epoch_2()
        return True

    trainer.fit(report)
    return trainer


def weights(folder: Path) -> list[torch.Tensor]:
    return list(read_checkpoint(folder / "last.pt")["model"].values())


@pytest.fixture
def unbroken(tmp_path: Path) -> list[torch.Tensor]:
    trained_in(tmp_path / "unbroken", lambda: None, 0.0)
    return weights(tmp_path / "unbroken")


@contextmanager
def full_disk() -> Iterator[None]:
    """No file may grow beyond a few bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_folder_that_is_away_for_a_while_costs_nothing_but_time(
    tmp_path: Path, unbroken: list[torch.Tensor]
) -> None:
    folder, away = tmp_path / "trial", tmp_path / "away"

    def unmount() -> None:
        folder.rename(away)
        Timer(1.0, lambda: away.rename(folder)).start()

    trained_in(folder, unmount, patience_s=30.0)
    assert all(map(torch.equal, weights(folder), unbroken))


def test_a_folder_that_stays_away_stops_the_trial_which_goes_on_when_it_is_back(
    tmp_path: Path, unbroken: list[torch.Tensor]
) -> None:
    folder, away = tmp_path / "trial", tmp_path / "away"
    with pytest.raises(StorageError, match=r"last\.pt: cannot be used \(No such file"):
        trained_in(folder, lambda: folder.rename(away) and None, patience_s=0.0)
    assert not folder.exists()  # nothing is written where the mount should be
    away.rename(folder)
    trained_in(folder, lambda: None, patience_s=0.0)
    assert all(map(torch.equal, weights(folder), unbroken))


def test_a_full_disk_stops_the_trial_which_goes_on_when_there_is_room(
    tmp_path: Path, unbroken: list[torch.Tensor]
) -> None:
    folder = tmp_path / "trial"
    trainer = toy_trainer(folder, max_epochs=_NUM_EPOCHS)
    assert trainer.checkpoints is not None
    trainer.checkpoints.patience_s = 0.0
    trainer.fit(lambda metrics: metrics["epoch"] < 2)
    with full_disk(), pytest.raises(StorageError, match=r"cannot be used \(File too large"):
        trained_in(folder, lambda: None, patience_s=0.0)
    assert sorted(path.name for path in folder.iterdir()) == ["best.pt", "last.pt", "previous.pt"]
    trained_in(folder, lambda: None, patience_s=0.0)
    assert all(map(torch.equal, weights(folder), unbroken))
