"""A real sweep in an object store: killed on one machine, it goes on and ends on another."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from optuna.trial import TrialState
from typer.testing import CliRunner

from slrtune.cli.folders import checkpoint_of
from slrtune.cli.main import app
from slrtune.config.addresses import folder_of
from slrtune.config.mirror import Mirror
from slrtune.config.overrides import read_overrides
from slrtune.config.search_space_file import load_search_space
from slrtune.sweep.at_address import copy_for_reader
from slrtune.sweep.study import read_study
from slrtune.training.checkpoint import read_checkpoint
from tests.cli_process import SlrtuneProcess
from tests.object_store import object_store
from tests.sweep.unbroken import told, without_ray

pytestmark = pytest.mark.ray

_SPACE = """
parameters:
  training.learning_rate: {low: 1e-7, high: 1e-2, log: true}
points:
  - {training.learning_rate: 3e-4}
  - {training.learning_rate: 3e-3}
"""
_SETTINGS = (
    "training.max_epochs=6", "sweep.asha.grace_epochs=2", "sweep.max_concurrent_trials=1",
)  # fmt: skip
_NUM_TRIALS = 3


def on_a_machine(home: Path, arguments: list[str]) -> SlrtuneProcess:
    home.mkdir(exist_ok=True)
    return SlrtuneProcess(arguments, home)


def test_a_sweep_that_lost_its_machine_goes_on_on_another_to_the_leaderboard_of_an_unbroken_one(
    tmp_path: Path, colors_experiment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "space.yaml").write_text(_SPACE)
    files = [str(tmp_path / "space.yaml"), "-e", str(colors_experiment)]
    settings = [text for setting in _SETTINGS for text in ("--set", setting)]
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    with object_store() as (address, _):
        runs = address("runs")
        monkeypatch.setenv("HOME", str(third))
        at_address = Mirror(folder_of(runs) / "s", address("runs/s"))
        sweep = on_a_machine(
            first,
            [
                *["sweep", *files, *settings, "--set", f"runs_dir={runs}"],
                *["-n", f"{_NUM_TRIALS}", "--name", "s"],
            ],
        )
        sweep.wait_for(lambda: at_address.find("trial_001/checkpoints/last.pt"))
        sweep.kill_all()
        sweep.wait()
        shutil.rmtree(first / ".cache" / "slrtune-remote-runs")
        (tmp_path / "space.yaml").unlink()

        resumed = on_a_machine(second, ["sweep", "--resume", "s", "--set", f"runs_dir={runs}"])
        (tmp_path / "again.yaml").write_text(_SPACE)
        overrides = read_overrides([*_SETTINGS, f"sweep.max_trials={_NUM_TRIALS}"])
        space = load_search_space(tmp_path / "again.yaml", colors_experiment, overrides)
        without_ray(space, tmp_path / "undisturbed")
        assert resumed.wait() == 0, resumed.output
        assert resumed.left_behind() == []
        assert f"1 of {_NUM_TRIALS} trials have ended, 1 were cut off" in resumed.output
        assert not list(second.rglob("*.pt"))  # checkpoints are the store's

        copy_for_reader(folder_of(runs) / "s")
        trials = read_study(folder_of(runs) / "s").trials
        assert {trial.state for trial in trials} <= {TrialState.COMPLETE, TrialState.PRUNED}
        undisturbed = read_study(tmp_path / "undisturbed").trials
        assert list(map(told, trials)) == list(map(told, undisturbed))
        files_there = at_address.files()
        assert {"sweep.json", "sweep.log", "best.yaml", "best.pt"} < files_there.keys()
        assert "lease.json" not in files_there
        assert any(name.startswith("tensorboard/trial_001/") for name in files_there)

        def said(*arguments: str) -> str:
            return CliRunner().invoke(app, [*arguments, "--runs-dir", runs]).output

        ended = f"s is finished: {_NUM_TRIALS} of {_NUM_TRIALS} trials have ended"
        assert ended in said("status", "s")
        assert "finished" in said("list")
        assert "Best: trial" in said("results", "s")
        best = read_checkpoint(checkpoint_of(Path("s"), folder_of(runs))[1])
        assert best["metrics"]["best_val_top1"] == max(trial.value or 0 for trial in trials)
