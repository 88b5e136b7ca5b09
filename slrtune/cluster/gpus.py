"""What GPUs the connected cluster has."""

from __future__ import annotations

from dataclasses import replace

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from slrtune.memory import DeviceType, this_device

_BYTES_PER_GIB = 2**30


def smallest_gpu() -> DeviceType | None:
    """The GPU with the least memory of all nodes; None in a cluster without GPUs."""
    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("GPU")]
    # A task that asks for no GPU sees all of its node; one that asks for a sliver would see one.
    look = ray.remote(num_cpus=0)(_gpus_here)
    there = (NodeAffinitySchedulingStrategy(node["NodeID"], soft=False) for node in nodes)
    found = ray.get([look.options(scheduling_strategy=strategy).remote() for strategy in there])
    gpus = [gpu for on_node in found for gpu in on_node]
    return min(gpus, key=lambda gpu: gpu.total_gib, default=None)


def _gpus_here() -> list[DeviceType]:
    import torch

    found = []
    for index in range(torch.cuda.device_count()):
        num_bytes = torch.cuda.get_device_properties(index).total_memory
        found.append(replace(this_device(index), total_gib=num_bytes / _BYTES_PER_GIB))
    return found
