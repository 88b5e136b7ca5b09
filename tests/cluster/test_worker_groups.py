"""Warm worker groups on a real Ray: workers that die, idle or too often."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from slrtune.cluster.resources import TrialShare
from slrtune.cluster.room import telling_who_waits, why_waiting
from slrtune.cluster.session import ray_session
from slrtune.cluster.task import Task
from slrtune.cluster.worker_groups import WorkerGroups
from slrtune.config.validate import load_experiment
from tests.ray_cluster import worker_pids

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def session() -> Iterator[None]:
    with ray_session():
        yield


def wait_until(condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "waited in vain"
        time.sleep(0.1)


def wait_for_workers(before: set[int]) -> set[int]:
    wait_until(lambda: bool(worker_pids() - before))
    return worker_pids() - before


def test_a_worker_that_dies_while_idle_does_not_take_the_next_trial_with_it(
    session: None, tmp_path: Path, colors_experiment: Path
) -> None:
    experiment = load_experiment(colors_experiment)
    task = Task("a", experiment.model_dump(mode="json"), str(tmp_path / "trial"))
    before = worker_pids()
    with WorkerGroups(TrialShare(1, 1.0, 0.0, 1)) as groups:
        first = wait_for_workers(before)
        events = [event.kind for event in groups.submit(task).events()]
        for pid in first:
            os.kill(pid, 9)  # idle by now, waiting for its next trial
        wait_for_workers(before | first)
        again = Task("b", task.experiment, str(tmp_path / "again"))
        events += [event.kind for event in groups.submit(again).events()]
    one_trial = ["started", "epoch", "epoch", "epoch", "epoch", "finished"]
    assert events == one_trial * 2


def test_a_group_that_another_job_keeps_waiting_is_told_with_the_reason(
    session: None, tmp_path: Path
) -> None:
    import ray  # after slrtune, which sets what Ray reads then
    from ray.util import placement_group, remove_placement_group

    num_cpus = ray.cluster_resources()["CPU"]
    other_job = placement_group([{"CPU": num_cpus}])
    ray.get(other_job.ready())
    share, said = TrialShare(1, 1.0, 0.0, 1), list[str]()
    with (
        telling_who_waits(share, said.append, patience_s=1.0, poll_s=0.2),
        WorkerGroups(share),
    ):
        wait_until(lambda: bool(said))
        assert said[0].startswith(
            "1 of 1 worker group(s) wait for room: 1 worker(s) of 1 CPU each, but 0 of "
            f"{num_cpus:g} CPUs are free; others hold the rest"
        )
        remove_placement_group(other_job)
        wait_until(lambda: said[-1] == "All worker groups have room")


def test_a_group_that_no_node_can_hold_is_told_so() -> None:
    share = TrialShare(2, 1.0, 1.0, 1)
    nodes = [{"CPU": 8.0}, {"CPU": 4.0, "GPU": 1.0}]
    told = why_waiting(share, 1, nodes, {"CPU": 12.0, "GPU": 1.0})
    assert "2 worker(s) of 1 CPU and 1 GPU each, but 12 of 12 CPUs, 1 of 1 GPUs are free" in told
    assert "no node is large enough" in told
