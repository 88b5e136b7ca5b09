"""Nodes and workers that go in the middle of a trial, on a real Ray of several nodes."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from slrtune.cluster.exchange import Task
from slrtune.cluster.resources import TrialShare
from slrtune.cluster.worker_groups import WorkerGroups
from slrtune.config.overrides import Overrides
from slrtune.config.validate import load_experiment
from slrtune.training.trial import train_trial
from tests.ray_cluster import RayCluster, worker_pids

pytestmark = pytest.mark.ray

_NUM_EPOCHS = 60


def test_a_trial_outlives_a_lost_node_a_spot_notice_and_a_killed_worker_and_tells_them_apart(
    tmp_path: Path, colors_experiment: Path
) -> None:
    overrides = Overrides({"training.max_epochs": _NUM_EPOCHS})
    experiment = load_experiment(colors_experiment, overrides)
    # The loss of a node is no failure of the trial: one failure is left for the killed worker.
    task = Task("a", experiment.model_dump(mode="json"), str(tmp_path / "trial"), max_failures=1)
    share = TrialShare(1, 1.0, 0.0, 1)
    epochs, reasons, ended = [], [], ""
    started_s = time.monotonic()
    before = worker_pids()
    with RayCluster(0) as cluster:
        node = cluster.add_node()
        with WorkerGroups(share, tmp_path / "groups") as groups:
            for event in groups.submit(task).events():
                if event.kind == "started" and event.payload["num_restarts"]:
                    reasons.append(event.payload["restart_reason"])
                    print(f"{time.monotonic() - started_s:.1f} s: {reasons[-1]}")
                if event.kind == "epoch":
                    epochs.append(event.payload["epoch"])
                # Each at some epoch of a life of its own.
                if len(epochs) == 5 and not reasons:
                    cluster.lose_node(node)
                    node = cluster.add_node()
                    epochs.append(0)
                elif len(epochs) == 12 and len(reasons) == 1:
                    cluster.give_notice(node, 1.0)
                    time.sleep(1.5)
                    cluster.lose_node(node)
                    node = cluster.add_node()
                    epochs.append(0)
                elif len(epochs) == 20 and len(reasons) == 2:
                    for pid in worker_pids() - before:
                        os.kill(pid, 9)  # as the kernel does where memory is full
                    epochs.append(0)
                ended = event.kind
                best = event.payload.get("best", {})
    assert ended == "finished"
    assert [epoch for epoch in epochs if epoch] == list(range(1, _NUM_EPOCHS + 1))
    unbroken = train_trial(experiment, tmp_path / "unbroken", lambda metrics: True).best
    assert best["val_loss"] == unbroken["val_loss"]
    assert "node was" in reasons[0]
    assert "node was" in reasons[1]
    assert reasons[2].startswith("its worker process was killed")
