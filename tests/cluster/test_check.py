"""What `slrtune cluster check` finds wrong, and what an autoscaler may add."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from slrtune.cluster.autoscaling import room_to_grow
from slrtune.cluster.check import NodeFacts, problems_of

_VERSIONS = {"python": "3.12.3", "ray": "2.60.0", "torch": "2.15.0", "slrtune": "0.1.0"}
_HEAD = NodeFacts("10.0.0.1", True, 0, 0, (), 16, {"runs_dir": 900.0}, _VERSIONS, "token")
_WORKER = replace(
    _HEAD, address="10.0.0.2", is_head=False, cpus=8, gpus=1, gpu_names=("A10G 22 GiB",)
)
_RUNS = Path("/mnt/runs")
_FILE = {
    "max_workers": 4,
    "head_node_type": "head",
    "available_node_types": {
        "head": {"resources": {"CPU": 0}, "max_workers": 0},
        "gpu_on_demand": {"resources": {"CPU": 8, "GPU": 1}, "max_workers": 4},
        "gpu_spot": {"resources": {"CPU": 8, "GPU": 1}, "max_workers": 3},
    },
}


def test_a_whole_cluster_has_no_problems_and_an_empty_one_may_still_grow() -> None:
    assert problems_of([_HEAD, _WORKER], 0, _RUNS) == []
    assert problems_of([_HEAD], 4, _RUNS) == []
    assert "no node trains" in problems_of([_HEAD], 0, _RUNS)[0]


def test_every_problem_is_named_with_its_node_and_its_cure() -> None:
    sick = replace(
        _WORKER,
        versions={**_VERSIONS, "torch": "2.14.0"},
        gpu_names=(),
        free_disk_gib={"runs_dir": 3.0},
        auth_mode="disabled",
        unseen=("10.0.0.1",),
    )
    blocked = replace(_WORKER, address="10.0.0.3", runs_error="PermissionError: Permission denied")
    found = "\n".join(problems_of([_HEAD, sick, blocked], 0, _RUNS))
    assert "torch: must be one version on all nodes, but is 10.0.0.1: 2.15.0" in found
    assert "GPU: node 10.0.0.2 gives out 1, but torch sees 0" in found
    assert "disk: node 10.0.0.2 should have 10 GiB free for runs_dir, but has 3.0" in found
    assert "RAY_AUTH_MODE: must be token on every node, but is not on 10.0.0.2" in found
    assert "node 10.0.0.2 does not see in /mnt/runs what 10.0.0.1 wrote" in found
    assert "node 10.0.0.3 cannot write to /mnt/runs (PermissionError: Permission denied)" in found


def test_room_to_grow_counts_living_workers_and_takes_spot_first() -> None:
    def room(num_workers: int) -> list[tuple[str, int]]:
        workers = [{"CPU": 8.0, "GPU": 1.0, "memory": 3e10}] * num_workers
        return [(kind.node_type, kind.count) for kind in room_to_grow(_FILE, workers)]

    assert room(0) == [("gpu_spot", 3), ("gpu_on_demand", 1)]
    assert room(2) == [("gpu_spot", 1), ("gpu_on_demand", 1)]
    assert room(4) == []
    assert room_to_grow({}, []) == []
