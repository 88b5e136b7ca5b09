"""A real population: one of it cannot learn anything by itself, and the driver is killed once."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from optuna.trial import TrialState

from slrtune.sweep.results import read_results
from slrtune.sweep.study import read_study
from tests.cli_process import SlrtuneProcess

pytestmark = pytest.mark.ray

_SPACE = """
parameters:
  training.learning_rate: {low: 1e-7, high: 1e-2, log: true}
  training.batch_size: {choices: [4, 8]}
points:
  - {training.learning_rate: 1e-7, training.batch_size: 4}
  - {training.learning_rate: 3e-3, training.batch_size: 8}
  - {training.learning_rate: 1e-3, training.batch_size: 8}
"""
_SETTINGS = (
    "sweep.scheduler=pbt", "sweep.pbt.perturb_every_epochs=3", "training.max_epochs=9",
    "sweep.pbt.resample_probability=0", "sweep.max_concurrent_trials=2",
)  # fmt: skip


def test_a_hopeless_trial_goes_on_from_a_good_one_and_ends_well_though_the_driver_is_killed(
    tmp_path: Path, colors_experiment: Path
) -> None:
    space = tmp_path / "space.yaml"
    space.write_text(_SPACE)
    arguments = ["sweep", str(space), "-e", str(colors_experiment), "-n", "3", "--name", "s"]
    settings = [part for setting in _SETTINGS for part in ("--set", setting)]
    killed = SlrtuneProcess([*arguments, *settings], tmp_path)
    killed.wait_for(lambda: "After epoch 3: trial 0" in killed.output)
    killed.kill_all()
    assert "Population of 3, 2 at a time: they take turns" in killed.output
    resumed = SlrtuneProcess(["sweep", "--resume", "s"], tmp_path)
    assert resumed.wait() == 0, resumed.output
    assert "trial 0 starts: learning_rate=1e-07" not in resumed.output
    folder = tmp_path / "runs" / "s"
    trials = read_study(folder).get_trials()
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 3, resumed.output
    for trial in trials:
        assert sorted(trial.intermediate_values) == list(range(1, 10))
    hopeless = trials[0]
    turns = hopeless.user_attrs["schedule"]
    assert [turn["after_epoch"] for turn in turns][:2] == [0, 3]
    assert turns[1]["weights_of"] in (1, 2)
    # what comes with the weights, and what is perturbed
    assert turns[1]["params"]["training.batch_size"] == 8
    assert turns[1]["params"]["training.learning_rate"] > 1e-4
    values = hopeless.intermediate_values
    assert values[3] < 0.8 < 0.9 < values[9] == hopeless.value
    rows = {row.number: row for row in read_results(folder).rows}
    assert rows[0].best_epoch > 3
    assert rows[0].params["training.learning_rate"] > 1e-4
    best = read_results(folder).best
    assert best is not None
    config = yaml.safe_load((folder / "best.yaml").read_text())
    assert config["training"]["learning_rate"] == best.params["training.learning_rate"]
