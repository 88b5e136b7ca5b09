"""How busy the cluster's nodes are right now: for the live table, and never at a sweep's cost."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from dataclasses import dataclass
from typing import Any

import psutil
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from slrtune.cluster.whereabouts import node_name

_logger = logging.getLogger(__name__)

_BYTES_PER_GIB = 2**30
_EVERY_S, _ANSWER_WITHIN_S = 3.0, 10.0
_MAX_LOST = 3


@dataclass(frozen=True)
class GpuUsage:
    """One GPU: what it is, memory in use and there is, and the share of time that it computes."""

    name: str
    used_gib: float
    total_gib: float
    busy_share: float


@dataclass(frozen=True)
class NodeUsage:
    """One node: share of its cores that compute, memory in use and there is, and its GPUs."""

    node: str
    cpu_share: float
    used_gib: float
    total_gib: float
    gpus: tuple[GpuUsage, ...] = ()


class UsageWatch:
    """Looks at all nodes every few seconds, in a thread. A context manager.

    The driver's own node is looked at from here; on each other one a small actor that asks for no
    resources does it. A node that does not answer is left out until it does; one whose actor dies
    again and again is not asked any more.
    """

    def __init__(self) -> None:
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="usage", daemon=True)
        self._nodes: tuple[NodeUsage, ...] = ()
        self._lookouts: dict[str, Any] = {}
        self._num_lost: Counter[str] = Counter()

    def __enter__(self) -> UsageWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join(timeout=1.0)  # one that waits for a node ends with Ray
        for lookout in self._lookouts.values():
            ray.kill(lookout)

    @property
    def nodes(self) -> tuple[NodeUsage, ...]:
        """As last seen."""
        return self._nodes

    def _watch(self) -> None:
        psutil.cpu_percent()  # the share since the call before: the first says nothing
        while not self._is_over.wait(_EVERY_S):
            try:
                self._nodes = self.look()
            except Exception:  # a table less is no reason to disturb a sweep
                _logger.exception("the nodes' usage is not known")

    def look(self, here: str | None = None) -> tuple[NodeUsage, ...]:
        """Now, by node.

        Args:
            here: id of this process's node; None = Ray knows.
        """
        here = here or ray.get_runtime_context().get_node_id()
        alive = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
        for gone in self._lookouts.keys() - alive:
            del self._lookouts[gone]
        others = [n for n in sorted(alive - {here}) if self._num_lost[n] < _MAX_LOST]
        asked = {self._lookout(node).look.remote(): node for node in others}
        seen = {here: usage_here(here)}
        if asked:
            answered, _ = ray.wait(list(asked), num_returns=len(asked), timeout=_ANSWER_WITHIN_S)
            for answer in answered:
                self._take(answer, asked[answer], seen)
        return tuple(seen[node] for node in sorted(seen))

    def _take(self, answer: Any, node: str, seen: dict[str, NodeUsage]) -> None:
        try:
            seen[node] = ray.get(answer)
        except ray.exceptions.RayError:
            self._num_lost[node] += 1
            self._lookouts.pop(node, None)  # the next look starts another

    def _lookout(self, node_id: str) -> Any:
        if node_id not in self._lookouts:
            there = NodeAffinitySchedulingStrategy(node_id, soft=False)
            actor = ray.remote(num_cpus=0)(_Lookout)
            self._lookouts[node_id] = actor.options(scheduling_strategy=there).remote(node_id)
        return self._lookouts[node_id]


class _Lookout:
    """Looks at its own node."""

    def __init__(self, node_id: str) -> None:
        self._node_id = node_id
        psutil.cpu_percent()

    def look(self) -> NodeUsage:
        """Now."""
        return usage_here(self._node_id)


def usage_here(node_id: str) -> NodeUsage:
    """This machine, since the last call in this process."""
    memory = psutil.virtual_memory()
    return NodeUsage(
        node_name(node_id),
        psutil.cpu_percent() / 100,
        (memory.total - memory.available) / _BYTES_PER_GIB,
        memory.total / _BYTES_PER_GIB,
        _gpus_here(),
    )


def _gpus_here() -> tuple[GpuUsage, ...]:
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return ()  # no GPU, or no driver
    try:
        handles = [
            pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())
        ]
        return tuple(_gpu(pynvml, handle) for handle in handles)
    finally:
        pynvml.nvmlShutdown()


def _gpu(nvml: Any, handle: Any) -> GpuUsage:
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    return GpuUsage(
        str(nvml.nvmlDeviceGetName(handle)),
        memory.used / _BYTES_PER_GIB,
        memory.total / _BYTES_PER_GIB,
        nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100,
    )
