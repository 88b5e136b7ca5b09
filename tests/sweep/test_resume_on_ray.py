"""A real sweep whose driver is killed, resumed and extended, against one that nobody disturbed."""

from __future__ import annotations

from pathlib import Path

import pytest
from optuna.trial import TrialState

from slrtune.config.overrides import read_overrides
from slrtune.config.search_space_file import load_search_space
from slrtune.sweep.folder import trial_folder
from slrtune.sweep.results import read_results
from slrtune.sweep.study import read_study
from tests.cli_process import SlrtuneProcess, run_slrtune
from tests.sweep.unbroken import told, without_ray

pytestmark = pytest.mark.ray

_SPACE = """
parameters:
  training.learning_rate: {low: 1e-7, high: 1e-2, log: true}
  training.batch_size: {choices: [4, 8]}
points:
  - {training.learning_rate: 3e-4, training.batch_size: 8}
  - {training.learning_rate: 3e-3, training.batch_size: 8}
"""
_SETTINGS = (
    "training.max_epochs=12", "sweep.asha.grace_epochs=5", "sweep.max_concurrent_trials=1",
)  # fmt: skip


def test_a_sweep_whose_driver_was_killed_resumes_to_the_leaderboard_of_an_unbroken_one(
    tmp_path: Path, colors_experiment: Path
) -> None:
    (tmp_path / "space.yaml").write_text(_SPACE)
    settings = [text for setting in _SETTINGS for text in ("--set", setting)]
    files = ["space.yaml", "-e", str(colors_experiment)]
    sweep = SlrtuneProcess(["sweep", *files, *settings, "-n", "3", "--name", "s"], tmp_path)
    folder = tmp_path / "runs" / "s"
    sweep.wait_for((trial_folder(folder, 1) / "checkpoints" / "last.pt").exists)
    sweep.process.kill()
    sweep.wait()
    finished, cut_off, *_ = read_study(folder).trials
    assert (finished.state, cut_off.state) == (TrialState.COMPLETE, TrialState.RUNNING)
    checkpoint = trial_folder(folder, 0) / "checkpoints" / "best.pt"
    written_at = checkpoint.stat().st_mtime_ns
    (tmp_path / "space.yaml").unlink()  # the folder says it all

    resumed = SlrtuneProcess(["sweep", "--resume", "s", "--extend", "1"], tmp_path)
    assert resumed.wait() == 0, resumed.output
    assert resumed.left_behind() == []
    assert "1 of 4 trials have ended, 1 were cut off" in resumed.output
    assert checkpoint.stat().st_mtime_ns == written_at  # no finished trial ran again
    (tmp_path / "space.yaml").write_text(_SPACE)
    space = load_search_space(
        tmp_path / "space.yaml",
        colors_experiment,
        read_overrides([*_SETTINGS, "sweep.max_trials=4"]),
    )
    without_ray(space, tmp_path / "undisturbed")
    undisturbed = read_study(tmp_path / "undisturbed").trials
    assert list(map(told, read_study(folder).trials)) == list(map(told, undisturbed))
    assert len(undisturbed) == 4

    best = read_results(folder).best
    code, output = run_slrtune(["sweep", "--resume", "s"], tmp_path)
    assert code == 0
    assert "is finished: all its 4 trials have ended" in output
    assert best is not None
    assert f"Best: trial {best.number}" in output
    # Ray's agents look for their dead cluster for about a minute.
    assert sweep.left_behind(within_s=90.0) == []
