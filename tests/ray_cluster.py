"""A real Ray cluster of several nodes on this machine, and what may not be left on it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from tests.full_memory import own_mounts

# Ray's own, one for a whole cluster and all its jobs; Ray Train starts it where it is not there.
_RAY_SERVICES = {"_AutoscalingCoordinatorActor"}


class RayCluster:
    """Nodes of one CPU each, beside a head; a context manager that sees to what is left behind.

    Args:
        num_head_cpus: of the head.
        commands: gives the command line this process's token: it runs with another HOME.
    """

    def __init__(self, num_head_cpus: int, commands: pytest.MonkeyPatch) -> None:
        commands.setenv("RAY_AUTH_TOKEN_PATH", str(Path.home() / ".ray" / "auth_token"))
        self._num_head_cpus = num_head_cpus
        self._nodes: dict[str, Any] = {}

    def __enter__(self) -> RayCluster:
        import ray
        from ray._private.authentication.authentication_token_setup import (
            ensure_token_if_auth_enabled,
        )
        from ray.cluster_utils import Cluster

        ensure_token_if_auth_enabled()  # as `ray start` does
        self._cluster = Cluster(True, head_node_args={"num_cpus": self._num_head_cpus})
        ray.init(address=self.address, log_to_driver=False)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        import ray

        left = self.left_behind() if kind is None else []
        ray.shutdown()
        self._cluster.shutdown()
        assert left == []

    @property
    def address(self) -> str:
        """For ``--address``."""
        return str(self._cluster.address)

    @property
    def nodes(self) -> list[str]:
        """Living ones beside the head."""
        return list(self._nodes)

    def busy_node(self) -> str | None:
        """One with a training worker, which lives."""
        for actor in _living_actors():
            name = actor["Address"]["NodeID"][:4]
            if "RayTrainWorker" in actor["ActorClassName"] and name in self._nodes:
                return str(name)
        return None

    def add_node(self, *, use_own_mounts: bool = False) -> str:
        """Start a node of one CPU; the start of its id, as trials tell it.

        Args:
            use_own_mounts: for `tests.full_memory`.
        """
        with own_mounts() if use_own_mounts else nullcontext():
            node = self._cluster.add_node(num_cpus=1)
        name = str(node.node_id)[:4]
        self._nodes[name] = node
        return name

    def raylet_pid(self, name: str) -> int:
        """Ray's own process of a node."""
        return int(self._nodes[name].all_processes["raylet"][0].process.pid)

    def lose_node(self, name: str) -> None:
        """Kill all processes of a node."""
        self._cluster.remove_node(self._nodes.pop(name), allow_graceful=False)

    def give_notice(self, name: str, seconds: float) -> None:
        """What a cloud says before it takes a spot instance away, as the autoscaler tells Ray."""
        from ray._raylet import GcsClient
        from ray.core.generated.autoscaler_pb2 import DrainNodeReason

        reason = DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
        deadline_ms = int((time.time() + seconds) * 1000)
        node_id = self._nodes[name].node_id
        accepted, why_not = GcsClient(address=self.address).drain_node(
            node_id, reason, "spot notice", deadline_ms
        )
        assert accepted, why_not

    def left_behind(self, within_s: float = 20.0) -> list[str]:
        """Actors and placement groups that are still there some seconds after a command ended."""
        deadline_s = time.monotonic() + within_s
        while (left := [*_strange_actors(), *_living_placement_groups()]) and (
            time.monotonic() < deadline_s
        ):
            time.sleep(0.5)
        return left


def _living_actors() -> list[dict[str, Any]]:
    import ray

    table = ray._private.state.state.actor_table(None, None, None).values()
    return [actor for actor in table if actor["State"] != "DEAD"]


def _strange_actors() -> list[str]:
    return sorted({actor["ActorClassName"] for actor in _living_actors()} - _RAY_SERVICES)


def _living_placement_groups() -> list[str]:
    import ray

    table = ray.util.placement_group_table().values()
    return [group["placement_group_id"] for group in table if group["state"] != "REMOVED"]


def wait_for(condition: Callable[[], Any], what: str, timeout_s: float = 120.0) -> Any:
    """What ``condition()`` answers as soon as that is true."""
    deadline_s = time.monotonic() + timeout_s
    while not (answer := condition()):
        assert time.monotonic() < deadline_s, f"waited {timeout_s:g} s in vain for {what}"
        time.sleep(0.2)
    return answer


def worker_pids() -> set[int]:
    """Living training workers of any cluster on this machine."""
    found = set()
    for title in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"RayTrainWorker" in title.read_bytes():
                found.add(int(title.parent.name))
        except OSError:
            continue
    return found
