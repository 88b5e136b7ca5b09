"""The memory budget of a sweep on the connected cluster."""

from __future__ import annotations

from slrtune.cluster.gpus import smallest_gpu
from slrtune.config.sweep import ResourcesConfig
from slrtune.memory import MemoryPredictor
from slrtune.sweep.constraints import MemoryBudget


def memory_budget(
    resources: ResourcesConfig, gpus_per_worker: float, num_classes: int
) -> MemoryBudget:
    """Budget and predictor, as the settings and the cluster's smallest GPU say.

    Args:
        resources: with ``memory_budget_gib``.
        gpus_per_worker: a fraction gives each worker its share of a GPU's memory.
        num_classes: glosses of the data.
    """
    budget_gib = resources.memory_budget_gib
    if budget_gib is None:
        return MemoryBudget()
    gpu = smallest_gpu() if gpus_per_worker else None
    if budget_gib == "auto":
        if gpu is None:
            return MemoryBudget()  # trials on CPUs share the machine's memory
        budget_gib = gpu.total_gib * min(1.0, gpus_per_worker)
    predictor = MemoryPredictor(gpu or "cpu", num_classes, resources.workers_per_trial)
    return MemoryBudget(budget_gib, predictor)
