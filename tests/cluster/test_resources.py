"""Sharing a cluster among trials."""

from __future__ import annotations

import pytest

from slrtune.cluster.resources import share_cluster
from slrtune.config.errors import UserError
from slrtune.config.sweep import ResourcesConfig


def concurrent(nodes: list[dict[str, float]], limit: int | None = None, **asked: float) -> int:
    resources = ResourcesConfig.model_validate(asked)
    return share_cluster(nodes, resources, limit).num_concurrent


def test_as_many_trials_run_as_workers_fit_on_whole_nodes() -> None:
    three_cpus_twice = [{"CPU": 3.0}, {"CPU": 3.0}]
    assert concurrent(three_cpus_twice) == 6
    assert concurrent(three_cpus_twice, cpus_per_worker=2) == 2
    assert concurrent(three_cpus_twice, workers_per_trial=2) == 3
    assert concurrent(three_cpus_twice, limit=4) == 4


def test_a_gpu_cluster_gives_each_worker_one_gpu_unless_told_otherwise() -> None:
    nodes = [{"CPU": 16.0, "GPU": 2.0}, {"CPU": 16.0}]
    assert share_cluster(nodes, ResourcesConfig(), None).gpus_per_worker == 1.0
    assert concurrent(nodes) == 2
    assert concurrent(nodes, gpus_per_worker=0.25) == 8
    assert concurrent(nodes, gpus_per_worker=0) == 32


def test_fractions_are_counted_as_ray_counts_them() -> None:
    assert concurrent([{"CPU": 0.3}], cpus_per_worker=0.1) == 3


def test_a_trial_that_cannot_fit_is_refused_with_what_is_missing() -> None:
    with pytest.raises(UserError, match=r"needs 1 worker.* of 8 CPU and 0 GPU.*2 CPU, 0 GPU"):
        concurrent([{"CPU": 2.0}], cpus_per_worker=8)
