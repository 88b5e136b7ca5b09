"""Sweeps on a Ray cluster that goes on living: nothing of them stays behind."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from slrtune.sweep.study import open_storage
from tests.cli_process import run_slrtune
from tests.ray_cluster import RayCluster
from tests.sweep.test_sweep_on_ray import write_space

pytestmark = pytest.mark.ray


def test_no_actor_or_placement_group_is_left_and_recycled_groups_serve_every_trial(
    tmp_path: Path, colors_experiment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["sweep", write_space(tmp_path), "-e", str(colors_experiment), "--name", "s"]
    one_at_a_time = ["--set", "sweep.max_concurrent_trials=1", "-n", "2"]
    recycled = ["--set", "sweep.max_trials_per_group=1"]
    with RayCluster(2, monkeypatch) as cluster:
        code, output = run_slrtune(
            [*arguments, *one_at_a_time, *recycled, "--address", cluster.address], tmp_path
        )
    assert code == 0, output
    study = optuna.load_study(study_name="s", storage=open_storage(tmp_path / "runs" / "s"))
    states = {trial.state for trial in study.get_trials()}
    assert len(study.get_trials()) == 2
    assert states <= {TrialState.COMPLETE, TrialState.PRUNED}
