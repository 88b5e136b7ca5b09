"""Checkpoint sizes are those of real files, and a sweep that cannot fit is refused before it
starts."""

from __future__ import annotations

import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from slrtune.config.errors import UserError
from slrtune.config.experiment import Experiment
from slrtune.config.sweep import SweepConfig
from slrtune.config.validate import load_experiment
from slrtune.memory.checkpoint_size import CheckpointSize, checkpoint_size
from slrtune.sweep.disk_forecast import check_disk, forecast_disk
from slrtune.training.construction import OutputSizes

_GIB = 2**30


def test_the_size_of_checkpoints_is_known_before_training(colors_run: Path) -> None:
    experiment = load_experiment(colors_run / "colors.yaml")
    size = checkpoint_size(experiment, OutputSizes(4))
    checkpoints = colors_run / "checkpoints"
    assert size.best_bytes == pytest.approx((checkpoints / "best.pt").stat().st_size, rel=0.05)
    assert size.last_bytes == pytest.approx((checkpoints / "last.pt").stat().st_size, rel=0.05)


def test_a_sweep_that_cannot_fit_is_refused_and_one_that_may_not_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiments = [
        Experiment.model_validate({"training": {"batch_size": size}}) for size in (1, 2, 3)
    ]

    def size_of(experiment: Experiment) -> CheckpointSize:
        gib = experiment.training.batch_size * _GIB
        return CheckpointSize(gib, 3 * gib)

    forecast = forecast_disk(experiments, size_of, SweepConfig(keep_checkpoints=4), 2)
    assert forecast is not None
    # Two trials with three large files and one small each, and the best four.
    assert (forecast.typical_gib, forecast.most_gib) == (2 * 2 * 10 + 2 * 4, 3 * 2 * 10 + 3 * 4)
    # Of a population all have them, not only those that run.
    pbt = SweepConfig(keep_checkpoints=4, max_trials=5, scheduler="pbt")
    population = forecast_disk(experiments, size_of, pbt, 2)
    assert population is not None
    assert population.typical_gib == 2 * 5 * 10 + 2 * 4
    usage = namedtuple("usage", "total used free")
    for free_gib, expected in ((72.5, ""), (60, "may become full")):
        free = int(free_gib * _GIB)
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: usage(0, 0, free))
        warning = check_disk(forecast, tmp_path / "runs" / "s")
        assert expected in warning
        assert bool(warning) == bool(expected)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(0, 0, 47 * _GIB))
    with pytest.raises(UserError, match=r"take 48 GiB, and up to 72 GiB, but .* has 47 GiB free"):
        check_disk(forecast, tmp_path / "runs" / "s")
