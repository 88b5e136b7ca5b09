from __future__ import annotations

import gc
import math
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch

from slrtune.config.experiment import Experiment
from slrtune.models.registry import VideoModel
from slrtune.training import compiling
from slrtune.training.checkpoint import read_checkpoint
from slrtune.training.trial import train_trial
from tests.training.conftest import GLOSSES
from tests.training.toys import Reports


def experiment(data: dict[str, Any], model: str = "cnn_transformer", **training) -> Experiment:
    width = {"embed_dim": 16, "depth": 1, "num_heads": 2}
    recipe = {"max_epochs": 2, "batch_size": 6, "micro_batch_size": 3}
    return Experiment.model_validate(
        {
            "data": data,
            "model": {
                "name": model,
                "cnn_transformer": {"backbone": "test_resnet", "pretrained": False, **width},
                "timesformer": {"patch_size": 16, **width},
            },
            "training": {**recipe, **training},
        }
    )


def weights_after(folder: Path, settings: Experiment, stop_epoch: int | None = None) -> dict:
    train_trial(settings, folder, Reports(stop_epoch))
    return read_checkpoint(folder / "checkpoints" / "last.pt")["model"]


@pytest.mark.parametrize("model", ["cnn_transformer", "timesformer"])
def test_a_trial_trains_saves_and_sums_up(tmp_path: Path, data, model):
    reports = Reports()
    summary = train_trial(experiment(data, model), tmp_path, reports)
    assert [metrics["epoch"] for metrics in reports] == [1, 2]
    assert all(math.isfinite(value) for metrics in reports for value in metrics.values())
    assert (summary.last_epoch, summary.is_stopped) == (2, False)
    best_report = reports[int(summary.best["epoch"]) - 1]
    assert best_report == {
        **summary.best,
        "num_parameters": summary.num_parameters,
        "train_coverage": 1.0,
        "val_coverage": 1.0,
    }
    best = read_checkpoint(summary.best_checkpoint)
    assert tuple(best["glosses"]) == GLOSSES
    assert sum(best["model"][n].numel() for n in best["model"]) >= summary.num_parameters


def test_what_ran_before_in_the_process_does_not_change_a_trial(tmp_path: Path, data):
    first = weights_after(tmp_path / "first", experiment(data))
    weights_after(tmp_path / "other", experiment(data, "timesformer", seed=7, precision="bf16"))
    second = weights_after(tmp_path / "second", experiment(data))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_stopped_trial_continues_bit_by_bit(tmp_path: Path, data):
    unbroken = weights_after(tmp_path / "unbroken", experiment(data))
    weights_after(tmp_path / "resumed", experiment(data), stop_epoch=1)
    resumed = weights_after(tmp_path / "resumed", experiment(data))
    assert all(torch.equal(unbroken[name], resumed[name]) for name in unbroken)


@pytest.mark.parametrize("model", ["cnn_transformer", "timesformer"])
def test_a_deterministic_trial_trains_and_leaves_no_strictness_behind(tmp_path: Path, data, model):
    strict, usual = (
        weights_after(
            tmp_path / str(is_strict),
            experiment(data, model, max_epochs=1, deterministic=is_strict),
        )
        for is_strict in (True, False)
    )
    # on a CPU they are the same algorithms
    assert all(torch.equal(strict[name], usual[name]) for name in strict)
    assert not torch.are_deterministic_algorithms_enabled()


def live_models() -> list[weakref.ref]:
    return [weakref.ref(each) for each in gc.get_objects() if issubclass(type(each), VideoModel)]


@pytest.mark.parametrize(
    ("does_fail", "training"),
    [(False, {}), (True, {}), (False, {"compile": True, "ema_decay": 0.9})],
    ids=str,
)
def test_nothing_of_a_trial_stays_in_the_process(
    tmp_path: Path, data, does_fail, training, monkeypatch
):
    monkeypatch.setattr(compiling, "BACKEND", "eager")
    during = []

    def report(metrics: dict[str, float]) -> bool:
        during.extend(live_models())
        if does_fail:
            raise ConnectionError("the driver is gone")
        return True

    try:
        train_trial(experiment(data, max_epochs=1, **training), tmp_path, report)
    except ConnectionError as caught:
        error = caught  # as a worker does that reports the failure
        assert error.__traceback__ is not None
    assert len(during) == 1
    assert during[0]() is None
