"""Trials whose folder is at the address of an object store: they go on on any machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from slrtune.config.addresses import folder_of
from slrtune.config.experiment import Experiment
from slrtune.config.mirror import Mirror, mirror_of
from slrtune.config.patience import StorageError
from slrtune.config.storage import Folder
from slrtune.training.checkpoint import read_checkpoint
from slrtune.training.trial import train_trial
from tests.object_store import object_store
from tests.training.test_trial import experiment
from tests.training.toys import Reports

_NUM_EPOCHS = 4


@pytest.fixture(scope="module")
def store() -> Iterator[Callable[[str], str]]:
    with object_store() as (address, _):
        yield address


class Machine:
    """One of several, each with a disk of its own, which train the same trial."""

    def __init__(self, runs: str, settings: Experiment, patch: pytest.MonkeyPatch) -> None:
        self._runs, self._settings, self._patch = runs, settings, patch

    def folder(self, home: Path) -> Path:
        self._patch.setenv("HOME", str(home))
        return folder_of(self._runs) / "s" / "trial_000"

    def mirror(self, home: Path) -> Mirror:
        mirror = mirror_of(self.folder(home))
        assert mirror is not None
        return mirror

    def train(self, home: Path, stop_epoch: int | None = None) -> Reports:
        reports = Reports(stop_epoch)
        train_trial(self._settings, self.folder(home), reports)
        return reports

    def saved(self, home: Path, name: str) -> dict[str, Any]:
        self.mirror(home).take(f"checkpoints/{name}")
        return read_checkpoint(self.folder(home) / "checkpoints" / name)


@pytest.fixture
def machine(
    store: Callable[[str], str], tmp_path: Path, data: Any, monkeypatch: pytest.MonkeyPatch
) -> Machine:
    settings = experiment(data, max_epochs=_NUM_EPOCHS)
    return Machine(store(tmp_path.name), settings, monkeypatch)


@pytest.fixture
def unbroken(tmp_path: Path, data: Any) -> dict[str, torch.Tensor]:
    train_trial(experiment(data, max_epochs=_NUM_EPOCHS), tmp_path / "unbroken", Reports())
    weights: dict[str, torch.Tensor]
    weights = read_checkpoint(tmp_path / "unbroken" / "checkpoints" / "last.pt")["model"]
    return weights


def test_a_trial_moves_from_machine_to_machine_and_ends_bit_by_bit_as_an_unbroken_one(
    machine: Machine, tmp_path: Path, unbroken: dict[str, torch.Tensor]
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    machine.train(first, stop_epoch=2)
    assert not (machine.folder(first) / "checkpoints").exists()
    assert [metrics["epoch"] for metrics in machine.train(second, stop_epoch=3)] == [2, 3]
    # What the first machine kept when it died is older than what the second has put there.
    stale = machine.folder(first) / "checkpoints" / "last.pt"
    stale.parent.mkdir()
    stale.write_bytes(b"of an earlier life")
    assert [metrics["epoch"] for metrics in machine.train(first)] == [3, 4]
    last = machine.saved(tmp_path / "third", "last.pt")["model"]
    assert all(torch.equal(last[name], unbroken[name]) for name in unbroken)
    best = machine.saved(tmp_path / "third", "best.pt")
    assert best["metrics"]["epoch"] <= _NUM_EPOCHS
    assert machine.mirror(first).find("validation.npz")


def test_a_damaged_last_checkpoint_costs_one_epoch_and_never_both(
    machine: Machine, tmp_path: Path, unbroken: dict[str, torch.Tensor]
) -> None:
    machine.train(tmp_path / "first", stop_epoch=3)
    machine.mirror(tmp_path / "first").write("checkpoints/last.pt", b"damaged")
    reports = machine.train(tmp_path / "second", stop_epoch=3)
    assert [metrics["epoch"] for metrics in reports] == [2, 3]
    assert len(machine.saved(tmp_path / "third", "previous.pt")["history"]) == 2
    machine.train(tmp_path / "second")
    last = machine.saved(tmp_path / "third", "last.pt")["model"]
    assert all(torch.equal(last[name], unbroken[name]) for name in unbroken)


def test_a_store_that_is_away_for_a_while_costs_nothing_but_time(
    machine: Machine,
    tmp_path: Path,
    unbroken: dict[str, torch.Tensor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put, failures = Folder.put, iter(range(2))

    def put_at_the_third_try(self: Folder, name: str, source: Path) -> None:
        if name == "last.pt" and next(failures, None) is not None:
            raise OSError("AWS Error NETWORK_CONNECTION")
        put(self, name, source)

    monkeypatch.setattr(Folder, "put", put_at_the_third_try)
    machine.train(tmp_path / "first")
    last = machine.saved(tmp_path / "second", "last.pt")["model"]
    assert all(torch.equal(last[name], unbroken[name]) for name in unbroken)


def test_a_store_that_stays_away_stops_the_trial_which_goes_on_from_what_arrived(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.train(tmp_path / "first", stop_epoch=1)
    resources = machine._settings.resources.model_copy(update={"storage_patience_s": 0.0})
    machine._settings = machine._settings.model_copy(update={"resources": resources})

    def fail(self: Folder, name: str, source: Path) -> None:
        raise OSError("AWS Error NETWORK_CONNECTION")

    with monkeypatch.context() as patch:
        patch.setattr(Folder, "put", fail)
        with pytest.raises(StorageError, match=r"s3://bucket/\S+: cannot be used \(AWS Error NET"):
            machine.train(tmp_path / "first")
    reports = machine.train(tmp_path / "second", stop_epoch=2)
    assert [metrics["epoch"] for metrics in reports] == [1, 2]
