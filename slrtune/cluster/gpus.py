"""What GPUs the connected cluster has."""

from __future__ import annotations

from dataclasses import dataclass

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

_BYTES_PER_GIB = 2**30
# A sliver of a GPU makes Ray show it to the task, whatever else is asked for on its node.
_SLIVER = 0.001


@dataclass(frozen=True)
class Gpu:
    """A GPU as CUDA sees it.

    Attributes:
        name: such as ``NVIDIA GeForce RTX 3090``.
        memory_gib: all of its memory.
    """

    name: str
    memory_gib: float


def smallest_gpu() -> Gpu | None:
    """The GPU with the least memory of all nodes; None in a cluster without GPUs."""
    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("GPU")]
    look = ray.remote(num_cpus=0, num_gpus=_SLIVER)(_gpus_here)
    there = (NodeAffinitySchedulingStrategy(node["NodeID"], soft=False) for node in nodes)
    found = ray.get([look.options(scheduling_strategy=strategy).remote() for strategy in there])
    gpus = [gpu for on_node in found for gpu in on_node]
    return min(gpus, key=lambda gpu: gpu.memory_gib, default=None)


def _gpus_here() -> list[Gpu]:
    import torch

    all_properties = map(torch.cuda.get_device_properties, range(torch.cuda.device_count()))
    return [Gpu(p.name, p.total_memory / _BYTES_PER_GIB) for p in all_properties]
