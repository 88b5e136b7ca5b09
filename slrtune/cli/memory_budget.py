"""The memory budget of a sweep on the connected cluster."""

from __future__ import annotations

from slrtune.cluster.gpus import smallest_gpu
from slrtune.config.search_space import SearchSpace
from slrtune.config.sweep import ResourcesConfig
from slrtune.memory import MemoryPredictor
from slrtune.sweep.constraints import MemoryBudget
from slrtune.sweep.packing import packed
from slrtune.training.construction import OutputSizes


def memory_budget(
    resources: ResourcesConfig, gpus_per_worker: float, sizes: OutputSizes
) -> MemoryBudget:
    """Budget and predictor, as the settings and the cluster's smallest GPU say.

    Args:
        resources: with ``memory_budget_gib``.
        gpus_per_worker: a fraction gives each worker its share of a GPU's memory.
        sizes: what the data ask of the model.
    """
    budget_gib = resources.memory_budget_gib
    if budget_gib is None:
        return MemoryBudget()
    gpu = smallest_gpu() if gpus_per_worker else None
    if gpu is not None:
        # A larger number would let workers that share a GPU take each other's memory.
        share_gib = gpu.total_gib * min(1.0, gpus_per_worker)
        budget_gib = share_gib if budget_gib == "auto" else min(budget_gib, share_gib)
    elif budget_gib == "auto":
        return MemoryBudget()  # trials on CPUs share the machine's memory
    predictor = MemoryPredictor(gpu or "cpu", sizes, resources.workers_per_trial)
    return MemoryBudget(budget_gib, predictor)


def packed_space(space: SearchSpace, sizes: OutputSizes) -> SearchSpace:
    """The space with ``resources.gpu_packing`` worked out on the connected cluster."""
    resources = space.base.resources
    is_wanted = resources.gpu_packing == "auto" and resources.gpus_per_worker is None
    # NCCL refuses two workers of one trial on the same GPU.
    is_wanted &= resources.workers_per_trial == 1
    gpu = smallest_gpu() if is_wanted else None
    if gpu is None:
        return space
    return packed(space, memory_budget(resources, 1.0, sizes), gpu.total_gib)
