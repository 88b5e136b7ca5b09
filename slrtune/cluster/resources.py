"""How many trials the cluster holds at a time, so that no trial waits for what cannot come."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slrtune.config.errors import UserError
from slrtune.config.sweep import ResourcesConfig

# A sliver of the head node: places a process there without taking a worker's CPU.
ON_HEAD = {"node:__internal_head__": 0.001}


@dataclass(frozen=True)
class TrialShare:
    """What one trial occupies on the cluster.

    Attributes:
        num_workers: data-parallel processes.
        cpus_per_worker: cores, also the worker's number of threads.
        gpus_per_worker: GPUs.
        num_concurrent: trials that fit at a time.
    """

    num_workers: int
    cpus_per_worker: float
    gpus_per_worker: float
    num_concurrent: int

    @property
    def worker_resources(self) -> dict[str, float]:
        """Ray's resource request of one worker."""
        resources = {"CPU": self.cpus_per_worker}
        if self.gpus_per_worker:
            resources["GPU"] = self.gpus_per_worker
        return resources

    @property
    def num_threads(self) -> int:
        """Threads of one worker."""
        return max(1, int(self.cpus_per_worker))

    def train_configs(self) -> dict[str, Any]:
        """Ray Train's scaling and process group of one trial's workers, as keyword arguments."""
        import ray.train
        from ray.train.torch import TorchConfig

        return {
            "scaling_config": ray.train.ScalingConfig(
                num_workers=self.num_workers,
                use_gpu=self.gpus_per_worker > 0,
                resources_per_worker=self.worker_resources,
            ),
            # nccl needs a GPU in every worker
            "torch_config": TorchConfig(backend="nccl" if self.gpus_per_worker else "gloo"),
        }


def share_cluster(
    nodes: Sequence[Mapping[str, float]], resources: ResourcesConfig, limit: int | None
) -> TrialShare:
    """Share out a cluster among trials.

    Args:
        nodes: resources of each node (``CPU``, ``GPU``). A worker fits on one node only.
        resources: what a trial asks for.
        limit: most trials at a time; None = what fits.

    Raises:
        UserError: not even one trial fits; names what is missing.
    """
    has_gpus = any(node.get("GPU", 0) for node in nodes)
    gpus = resources.gpus_per_worker
    if gpus is None:
        gpus = 1.0 if has_gpus else 0.0
    num_workers = sum(fits_on(node, resources.cpus_per_worker, gpus) for node in nodes)
    num_concurrent = num_workers // resources.workers_per_trial
    if num_concurrent < 1:
        have = "; ".join(f"{n.get('CPU', 0):g} CPU, {n.get('GPU', 0):g} GPU" for n in nodes)
        raise UserError(
            f"resources: one trial needs {resources.workers_per_trial} worker(s) of "
            f"{resources.cpus_per_worker:g} CPU and {gpus:g} GPU, but the cluster's nodes have "
            f"({have}); lower resources.workers_per_trial, resources.cpus_per_worker or "
            "resources.gpus_per_worker"
        )
    return TrialShare(
        num_workers=resources.workers_per_trial,
        cpus_per_worker=resources.cpus_per_worker,
        gpus_per_worker=gpus,
        num_concurrent=min(num_concurrent, limit or num_concurrent),
    )


def fits_on(node: Mapping[str, float], cpus: float, gpus: float) -> int:
    """How many workers of so many CPUs and GPUs a node with these resources holds."""
    # Ray counts resources in 1/10000: without rounding, 0.3 / 0.1 would hold two.
    fit = math.floor(round(node.get("CPU", 0.0) / cpus, 4))
    if gpus:
        fit = min(fit, math.floor(round(node.get("GPU", 0.0) / gpus, 4)))
    return fit


def cluster_nodes() -> list[dict[str, float]]:
    """Resources of every node of the connected cluster: alive, or still to be started."""
    import ray

    from slrtune.cluster.autoscaling import nodes_to_come

    alive = [dict(node["Resources"]) for node in ray.nodes() if node["Alive"]]
    return alive + [dict(kind.resources) for kind in nodes_to_come() for _ in range(kind.count)]
