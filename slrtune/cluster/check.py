"""What a cluster has, node by node, and what is wrong with it for a sweep."""

from __future__ import annotations

import os
import platform
import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slrtune.config.addresses import here, shown
from slrtune.config.mirror import mirror_of

_GIB = 2**30
_TIMEOUT_S = 180.0
_MIN_FREE_GIB = 10.0


@dataclass(frozen=True)
class NodeFacts:
    """One node, as a process on it sees it.

    Attributes:
        address: its own.
        is_head: whether the sweep's own processes run there.
        cpus: what Ray gives to trials.
        gpus: what Ray gives to trials.
        gpu_names: what torch sees, with memory.
        memory_gib: of the machine.
        free_disk_gib: folder -> free disk there.
        versions: python, ray, torch and slrtune.
        auth_mode: ``token``, or how else Ray's processes know each other there.
        runs_error: why ``runs_dir`` cannot be written to; empty = it can.
        unseen: nodes whose file in ``runs_dir`` this node does not see.
    """

    address: str
    is_head: bool
    cpus: float
    gpus: float
    gpu_names: tuple[str, ...]
    memory_gib: float
    free_disk_gib: Mapping[str, float]
    versions: Mapping[str, str]
    auth_mode: str
    runs_error: str = ""
    unseen: tuple[str, ...] = ()


def look_at_nodes(runs_dir: Path) -> tuple[list[NodeFacts], list[str]]:
    """Facts of every living node of the connected cluster, and what went wrong in asking.

    Args:
        runs_dir: folder of the sweeps; each node writes a small file there, removed at the end.
    """
    import ray

    nodes = [node for node in ray.nodes() if node["Alive"]]
    mark = uuid.uuid4().hex[:8]
    facts, wrong = _ask(nodes, _look, (runs_dir, mark))
    seen, _ = _ask(nodes, _seen_marks, (runs_dir, mark))
    _ask(nodes, _remove_marks, (runs_dir, mark))
    written = {node_id for node_id, found in facts.items() if not found["runs_error"]}
    by_id = {node["NodeID"]: node["NodeManagerAddress"] for node in nodes}
    result = []
    for node in nodes:
        node_id, has = node["NodeID"], node["Resources"]
        if node_id not in facts:
            continue
        missing = sorted(written - set(seen.get(node_id, ())) - {node_id})
        result.append(
            NodeFacts(
                address=by_id[node_id],
                is_head="node:__internal_head__" in has,
                cpus=has.get("CPU", 0.0),
                gpus=has.get("GPU", 0.0),
                unseen=tuple(by_id[other] for other in missing),
                **facts[node_id],
            )
        )
    return sorted(result, key=lambda node: (not node.is_head, node.address)), wrong


def problems_of(nodes: Sequence[NodeFacts], num_to_come: int, runs_dir: Path) -> list[str]:
    """What is wrong: rule, value, place, cure. Empty = a sweep can start.

    Args:
        nodes: all living nodes.
        num_to_come: nodes that an autoscaler may still start.
        runs_dir: as it was asked for.
    """
    found = []
    if not num_to_come and not any(node.cpus >= 1 for node in nodes):
        found.append(
            "no node trains: none has a CPU for trials, and no autoscaler may add one; "
            "raise max_workers in the cluster file, or start Ray on another machine"
        )
    for name in ("python", "ray", "torch", "slrtune"):
        versions = {node.address: node.versions.get(name, "none") for node in nodes}
        if len(set(versions.values())) > 1:
            said = ", ".join(f"{address}: {version}" for address, version in versions.items())
            found.append(
                f"{name}: must be one version on all nodes, but is {said}; install it anew"
            )
    for node in nodes:
        found += _problems_of_node(node, runs_dir)
    if len(nodes) > 1 and any(node.auth_mode != "token" for node in nodes):
        open_nodes = ", ".join(node.address for node in nodes if node.auth_mode != "token")
        found.append(
            f"RAY_AUTH_MODE: must be token on every node, but is not on {open_nodes}; without it "
            "anyone who reaches the head's ports runs code there: set it before `ray start`"
        )
    return found


def _problems_of_node(node: NodeFacts, runs_dir: Path) -> list[str]:
    place, found = f"node {node.address}", []
    if node.runs_error:
        found.append(
            f"runs_dir: {place} cannot write to {shown(runs_dir)} ({node.runs_error}); "
            "set runs_dir to a folder that every node mounts, or an address that it has keys for"
        )
    if node.unseen:
        found.append(
            f"runs_dir: {place} does not see in {shown(runs_dir)} what {', '.join(node.unseen)} "
            "wrote; set runs_dir to a folder that every node mounts, such as NFS"
        )
    if len(node.gpu_names) < node.gpus:
        found.append(
            f"GPU: {place} gives out {node.gpus:g}, but torch sees {len(node.gpu_names)}; the "
            "driver may be too old for torch's CUDA: compare nvidia-smi with torch.version.cuda"
        )
    for folder, free_gib in node.free_disk_gib.items():
        if free_gib < _MIN_FREE_GIB:
            found.append(
                f"disk: {place} should have {_MIN_FREE_GIB:g} GiB free for {folder}, but has "
                f"{free_gib:.1f}; make room, or take another folder"
            )
    return found


def _ask(
    nodes: Sequence[Mapping[str, Any]], question: Any, arguments: tuple[Any, ...]
) -> tuple[dict[str, Any], list[str]]:
    """Answers by node id, and a line for each node that gives none."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    asked = {}
    for node in nodes:
        there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        # Without asking for a GPU it sees all of the node's, also those that trials have.
        options = {"num_cpus": 0, "scheduling_strategy": there, "max_retries": 0}
        asked[node["NodeID"]] = (
            node["NodeManagerAddress"],
            ray.remote(**options)(question).remote(node["NodeID"], *arguments),
        )
    ray.wait([answer for _, answer in asked.values()], num_returns=len(asked), timeout=_TIMEOUT_S)
    answers, wrong = {}, []
    for node_id, (address, answer) in asked.items():
        try:
            answers[node_id] = ray.get(answer, timeout=0)
        except Exception as error:
            reason = str(error).strip().splitlines()
            said = reason[-1] if reason else type(error).__name__
            wrong.append(f"node {address} does not answer: {said}")
    return answers, wrong


def _look(node_id: str, runs_dir: Path, mark: str) -> dict[str, Any]:
    """Runs on each node; also leaves a file in ``runs_dir``."""
    import ray
    import torch

    import slrtune

    error = ""
    try:
        runs_dir = here(runs_dir)
        runs_dir.mkdir(parents=True, exist_ok=True)
        if (at_address := mirror_of(runs_dir / f".check-{mark}")) is not None:
            at_address.write(node_id, b"seen from every node")
        else:
            (runs_dir / f".check-{mark}-{node_id}").write_text("seen from every node\n")
    except OSError as failure:
        error = f"{type(failure).__name__}: {failure.strerror}"
    gpus = map(torch.cuda.get_device_properties, range(torch.cuda.device_count()))
    folders = {"runs_dir": runs_dir, "the clip cache": Path.home()}
    return {
        "gpu_names": tuple(f"{gpu.name} {gpu.total_memory / _GIB:.0f} GiB" for gpu in gpus),
        "memory_gib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _GIB,
        "free_disk_gib": {
            name: shutil.disk_usage(folder).free / _GIB
            for name, folder in folders.items()
            if folder.exists()
        },
        "versions": {
            "python": platform.python_version(),
            "ray": ray.__version__,
            "torch": torch.__version__,
            "slrtune": slrtune.__version__,
        },
        "auth_mode": os.environ.get("RAY_AUTH_MODE", "token"),
        "runs_error": error,
    }


def _marks(runs_dir: Path, mark: str) -> list[Path]:
    return list(runs_dir.glob(f".check-{mark}-*")) if runs_dir.is_dir() else []


def _seen_marks(_: str, runs_dir: Path, mark: str) -> list[str]:
    if (at_address := mirror_of(runs_dir / f".check-{mark}")) is not None:
        return list(at_address.files())
    return [path.name.rsplit("-", 1)[1] for path in _marks(runs_dir, mark)]


def _remove_marks(_: str, runs_dir: Path, mark: str) -> None:
    if (at_address := mirror_of(runs_dir / f".check-{mark}")) is not None:
        for name in at_address.files():
            at_address.delete(name)
    for path in _marks(runs_dir, mark):
        path.unlink(missing_ok=True)
