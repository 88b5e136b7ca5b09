"""A sweep on a node whose main memory gets full: Ray kills workers, and the trial goes on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from slrtune.config.overrides import read_overrides
from slrtune.config.search_space_file import load_search_space
from slrtune.sweep.study import read_study
from tests.cli_process import SlrtuneProcess
from tests.full_memory import full_memory
from tests.ray_cluster import RayCluster, wait_for
from tests.sweep.test_faults_on_ray import running
from tests.sweep.test_sweep_on_ray import write_space
from tests.sweep.unbroken import Unbroken

pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can let a node read of full memory"),
]

_SPACE = """
parameters:
  training.learning_rate: {low: 1e-4, high: 1e-2, log: true}
"""
_SETTINGS = (
    "training.max_epochs=30", "sweep.max_trials=1", "sweep.sampler=random", "sweep.scheduler=none",
)  # fmt: skip


def test_a_trial_whose_worker_ray_kills_for_memory_goes_on_and_says_why(
    tmp_path: Path, colors_experiment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = write_space(tmp_path, _SPACE)
    settings = [word for setting in _SETTINGS for word in ("--set", setting)]
    folder = tmp_path / "runs" / "s"
    space = load_search_space(Path(written), colors_experiment, read_overrides(_SETTINGS))
    with Unbroken(space, 1, tmp_path) as unbroken, RayCluster(0, monkeypatch) as cluster:
        node = cluster.add_node(use_own_mounts=True)
        arguments = ["sweep", written, "-e", str(colors_experiment), "--name", "s", *settings]
        sweep = SlrtuneProcess([*arguments, "--address", cluster.address], tmp_path)
        number, _ = wait_for(lambda: running(folder), "a trial runs")
        log = folder / "sweep.log"
        with full_memory(cluster.raylet_pid(node)):
            # The worker that trains, then the next one as it starts, and with it Ray's controller.
            wait_for(lambda: "worker group 0 ended" in log.read_text(), "the next one is killed")
        assert sweep.wait() == 0, sweep.output
        trials = read_study(folder).trials
        unbroken.assert_equals(trials)
    assert sweep.left_behind() == []
    assert "main memory was nearly full" in trials[number].user_attrs["restart_reason"]
