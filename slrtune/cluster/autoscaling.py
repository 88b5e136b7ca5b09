"""Nodes that are not there yet: what `ray up`'s autoscaler may add, and waiting for the first.

Ray tells nobody what its autoscaler could start, so the head's own copy of the cluster file is
read, where the autoscaler's process says it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import yaml

from slrtune.cluster.resources import ON_HEAD, TrialShare

_OPTION = "--autoscaling-config="
_KINDS = ("CPU", "GPU")
_SAY_AGAIN_S = 60.0


@dataclass(frozen=True)
class NodesToCome:
    """Nodes of one type that the autoscaler may start.

    Attributes:
        node_type: its name in the cluster file.
        resources: of one node (``CPU``, ``GPU``).
        count: how many more.
    """

    node_type: str
    resources: Mapping[str, float]
    count: int


def nodes_to_come() -> list[NodesToCome]:
    """What the connected cluster's autoscaler may add; nothing where there is none."""
    this, nodes = ray.get_runtime_context(), [node for node in ray.nodes() if node["Alive"]]
    heads = [node for node in nodes if ON_HEAD.keys() <= node["Resources"].keys()]
    if this.get_node_id() in [node["NodeID"] for node in heads]:
        config = _autoscaler_config(this.gcs_address)
    else:
        # where the autoscaler's process runs, and its copy of the cluster file lies
        read = ray.remote(num_cpus=0, resources=ON_HEAD)(_autoscaler_config)
        config = ray.get(read.remote(this.gcs_address))
    return room_to_grow(config, [node["Resources"] for node in nodes if node not in heads])


def room_to_grow(
    config: Mapping[str, Any], workers: Sequence[Mapping[str, float]]
) -> list[NodesToCome]:
    """What a cluster file leaves to be started, first choice first.

    Args:
        config: the cluster file; empty = no autoscaler.
        workers: resources of the living nodes but the head. Ray does not say of which type they
            are: each counts for the first type that it could be.
    """
    left = config.get("max_workers", 0) - len(workers)
    running = list(workers)
    found = []
    # Among equals the autoscaler takes the name that sorts last, as `spot` knows.
    for name, node_type in sorted(config.get("available_node_types", {}).items(), reverse=True):
        resources = node_type["resources"]
        if name == config["head_node_type"] or not any(map(resources.get, _KINDS)):
            continue
        most = node_type.get("max_workers", 0)
        of_this = [has for has in running if _are_equal(has, resources)][:most]
        for has in of_this:
            running.remove(has)
        count = max(0, min(most - len(of_this), left))
        if count:
            found.append(NodesToCome(name, resources, count))
            left -= count
    return found


def _are_equal(one: Mapping[str, float], other: Mapping[str, float]) -> bool:
    return all(one.get(kind, 0) == other.get(kind, 0) for kind in _KINDS)


def wait_for_worker(share: TrialShare, say: Callable[[str], None]) -> None:
    """Wait until one worker's place is there, which makes the autoscaler start a node.

    Later nodes come by themselves, when worker groups ask for theirs.
    """
    cpus, gpus = share.cpus_per_worker, share.gpus_per_worker
    has = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if any(node.get("CPU", 0) >= cpus and node.get("GPU", 0) >= gpus for node in has):
        return
    here = ray.remote(num_cpus=cpus, num_gpus=gpus)(_node_address).remote()
    waited_s = 0.0
    while not ray.wait([here], timeout=_SAY_AGAIN_S if waited_s else 5.0)[0]:
        coming = ", ".join(f"{n.count} x {n.node_type}" for n in nodes_to_come()) or "none"
        say(
            f"Waiting for the first worker node ({cpus:g} CPU, {gpus:g} GPU); the autoscaler may "
            f"start: {coming}; `ray status` on the head node says what it does"
        )
        waited_s += _SAY_AGAIN_S
    ray.get(here)


def _node_address() -> str:
    return ray.util.get_node_ip_address()


def _autoscaler_config(gcs_address: str) -> dict[str, Any]:
    """The cluster file of the autoscaler that serves this cluster, if one runs on this machine."""
    for arguments in _process_arguments():
        is_monitor = any(argument.endswith("monitor.py") for argument in arguments)
        if not is_monitor or f"--gcs-address={gcs_address}" not in arguments:
            continue
        for argument in arguments:
            path = Path(argument.removeprefix(_OPTION)).expanduser()
            if argument.startswith(_OPTION) and path.is_file():
                return dict(yaml.safe_load(path.read_text()))
    return {}


def _process_arguments() -> Iterator[list[str]]:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            yield (folder / "cmdline").read_bytes().decode().split("\0")
        except (OSError, UnicodeDecodeError):
            continue  # ended meanwhile, or another user's
