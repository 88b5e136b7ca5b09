"""A sweep on several nodes to which everything happens, one thing after the other."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState

from slrtune.config.errors import UserError
from slrtune.config.overrides import Overrides
from slrtune.config.search_space_file import load_search_space
from slrtune.sweep.folder import trial_folder
from slrtune.sweep.study import read_study
from tests.cli_process import SlrtuneProcess
from tests.ray_cluster import RayCluster, wait_for, worker_pids
from tests.sweep.test_sweep_on_ray import write_space
from tests.sweep.unbroken import Unbroken

pytestmark = pytest.mark.ray

_NUM_TRIALS, _NUM_EPOCHS = 5, 60
_SPACE = """
parameters:
  training.learning_rate: {low: 1e-4, high: 1e-2, log: true}
  training.weight_decay: {low: 1e-4, high: 1e30, log: true}
points:
  - {training.learning_rate: 1e-3, training.weight_decay: 1e-2}
  - {training.learning_rate: 2e-3, training.weight_decay: 2e-2}
  - {training.learning_rate: 3e-3, training.weight_decay: 3e-2}
  - {training.learning_rate: 4e-3, training.weight_decay: 4e-2}
  - {training.learning_rate: 1e-3, training.weight_decay: 1e30}
"""
_SETTINGS: dict[str, Any] = {
    "training.max_epochs": _NUM_EPOCHS,
    "sweep.max_trials": _NUM_TRIALS,
    "sweep.sampler": "random",
    "sweep.scheduler": "none",
}


def trials_of(folder: Path) -> list[FrozenTrial]:
    try:
        return read_study(folder).get_trials(deepcopy=False)
    except (UserError, OSError):
        return []  # not yet, or away


def last_report(folder: Path, number: int) -> dict[str, Any]:
    trials = trials_of(folder)
    return trials[number].user_attrs.get("last_report", {}) if trials else {}


def running(folder: Path, but_on: tuple[str, ...] = ()) -> tuple[int, str] | None:
    """Number and node of a trial that has reported an epoch there and has some to go."""
    for trial in trials_of(folder):
        report = trial.user_attrs.get("last_report", {})
        node = report.get("node", "").rpartition("-")[2]
        is_young = report.get("epoch", _NUM_EPOCHS) < _NUM_EPOCHS / 2
        if not trial.state.is_finished() and is_young and node not in but_on:
            return trial.number, node
    return None


def test_a_sweep_outlives_lost_nodes_killed_workers_and_what_storage_does(
    tmp_path: Path, colors_experiment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = write_space(tmp_path, _SPACE)
    settings = [word for key, value in _SETTINGS.items() for word in ("--set", f"{key}={value}")]
    folder = tmp_path / "runs" / "s"
    took: dict[str, float] = {}

    def until(what: str, condition: Any) -> Any:
        started_s = time.monotonic()
        try:
            answer = wait_for(condition, what)
        except AssertionError:
            print(sweep.output)
            raise
        took[what] = round(time.monotonic() - started_s, 1)
        return answer

    space = load_search_space(Path(written), colors_experiment, Overrides(_SETTINGS))
    with (
        Unbroken(space, _NUM_TRIALS - 1, tmp_path) as unbroken,
        RayCluster(0, monkeypatch) as cluster,
    ):
        first, second = cluster.add_node(), cluster.add_node()
        before = worker_pids()
        arguments = ["sweep", written, "-e", str(colors_experiment), "--name", "s", *settings]
        sweep = SlrtuneProcess([*arguments, "--address", cluster.address], tmp_path)
        _, node = until("a trial runs", lambda: running(folder))
        cluster.lose_node(node)
        # Not before: the other node's group takes the trial up, whatever it has to do first.
        other = second if node == first else first
        third = cluster.add_node()
        # A notice, and half a minute later the node is gone.
        until("a trial runs on the other node", lambda: running(folder, (node, third)))
        cluster.give_notice(other, 3.0)
        time.sleep(3.0)
        cluster.lose_node(other)
        killed, _ = until("a trial runs on the new node", lambda: running(folder, (node, other)))
        for pid in worker_pids() - before:
            os.kill(pid, 9)  # as the kernel does where memory is full
        checkpoint = trial_folder(folder, killed) / "checkpoints" / "last.pt"
        checkpoint.write_bytes(checkpoint.read_bytes()[:-999])  # its disk was not flushed
        cluster.add_node()
        until("the one before is taken", checkpoint.with_name("last.pt.corrupt").exists)
        until("it goes on", lambda: "num_restarts" in last_report(folder, killed))
        folder.rename(tmp_path / "runs" / "away")
        time.sleep(3.0)
        (tmp_path / "runs" / "away").rename(folder)
        assert sweep.wait() == 0, sweep.output
        *trials, diverged = trials_of(folder)
        unbroken.assert_equals(trials)
    print(took, sweep.output, sep="\n")
    assert sweep.left_behind() == []
    assert "Best: trial" in sweep.output and "TrainingDivergedError" in sweep.output
    assert diverged.state == TrialState.FAIL
    assert diverged.user_attrs["outcome"] == "error"
    assert "TrainingDivergedError" in diverged.user_attrs["error"]
    reasons = " ".join(trial.user_attrs.get("restart_reason", "") for trial in trials)
    assert "its node was" in reasons
    assert "its worker process was killed" in reasons
