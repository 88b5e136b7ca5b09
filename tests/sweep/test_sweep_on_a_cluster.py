"""Sweeps on a Ray cluster that goes on living: nothing of them stays behind."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from slrtune.sweep.study import open_storage
from tests.cli_process import run_slrtune
from tests.sweep.test_sweep_on_ray import write_space

pytestmark = pytest.mark.ray

# Ray's own, one for a whole cluster and all its jobs; Ray Train starts it where it is not there.
_RAY_SERVICES = {"_AutoscalingCoordinatorActor"}


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A real Ray head with 2 CPUs, that this test process is connected to."""
    # The command line runs with another HOME, where the token would be another one.
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    import ray
    from ray.cluster_utils import Cluster

    head = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    ray.init(address=head.address, log_to_driver=False)
    try:
        yield head.address
    finally:
        ray.shutdown()
        head.shutdown()


def living_actors() -> list[str]:
    import ray

    table = ray._private.state.state.actor_table(None, None, None).values()
    living = {actor["ActorClassName"] for actor in table if actor["State"] != "DEAD"}
    return sorted(living - _RAY_SERVICES)


def living_placement_groups() -> list[str]:
    import ray

    table = ray.util.placement_group_table().values()
    return [group["placement_group_id"] for group in table if group["state"] != "REMOVED"]


def test_no_actor_or_placement_group_is_left_and_recycled_groups_serve_every_trial(
    tmp_path: Path, colors_experiment: Path, cluster: str
) -> None:
    arguments = ["sweep", write_space(tmp_path), "-e", str(colors_experiment), "--name", "s"]
    one_at_a_time = ["--set", "sweep.max_concurrent_trials=1", "-n", "2"]
    recycled = ["--set", "sweep.max_trials_per_group=1"]
    code, output = run_slrtune(
        [*arguments, *one_at_a_time, *recycled, "--address", cluster], tmp_path
    )
    assert code == 0, output
    study = optuna.load_study(study_name="s", storage=open_storage(tmp_path / "runs" / "s"))
    states = {trial.state for trial in study.get_trials()}
    assert len(study.get_trials()) == 2
    assert states <= {TrialState.COMPLETE, TrialState.PRUNED}
    deadline_s = time.monotonic() + 20
    while (living_actors() or living_placement_groups()) and time.monotonic() < deadline_s:
        time.sleep(0.5)
    assert living_actors() == []
    assert living_placement_groups() == []
