"""Warm worker groups on a real Ray: workers that die, idle or too often."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from slrtune.cluster.exchange import Task
from slrtune.cluster.resources import TrialShare
from slrtune.cluster.session import ray_session
from slrtune.cluster.worker_groups import WorkerGroups
from slrtune.config.validate import load_experiment

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def session() -> Iterator[None]:
    with ray_session():
        yield


def worker_pids() -> set[int]:
    found = set()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                title = (folder / "cmdline").read_bytes()
            except OSError:
                continue
            if b"RayTrainWorker" in title:
                found.add(int(folder.name))
    return found


def wait_for_workers(before: set[int], timeout_s: float = 60.0) -> set[int]:
    deadline_s = time.monotonic() + timeout_s
    while not worker_pids() - before:
        assert time.monotonic() < deadline_s, "no worker started"
        time.sleep(0.1)
    return worker_pids() - before


def test_a_worker_that_dies_while_idle_does_not_take_the_next_trial_with_it(
    session: None, tmp_path: Path, colors_experiment: Path
) -> None:
    experiment = load_experiment(colors_experiment)
    task = Task("a", experiment.model_dump(mode="json"), str(tmp_path / "trial"))
    before = worker_pids()
    with WorkerGroups(TrialShare(1, 1.0, 0.0, 1), tmp_path / "groups") as groups:
        first = wait_for_workers(before)
        events = [event.kind for event in groups.submit(task).events()]
        for pid in first:
            os.kill(pid, 9)  # idle by now, waiting for its next trial
        wait_for_workers(before | first)
        again = Task("b", task.experiment, str(tmp_path / "again"))
        events += [event.kind for event in groups.submit(again).events()]
    one_trial = ["started", "epoch", "epoch", "epoch", "epoch", "finished"]
    assert events == one_trial * 2
