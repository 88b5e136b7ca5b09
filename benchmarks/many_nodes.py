"""What a trial costs the driver of a sweep on many nodes.

    python -m benchmarks.many_nodes [--nodes 64] [--slots 1] [--trials 320] [--epoch-s 15]

A real Ray cluster of raylets on this machine, and `run_sweep` as a user runs it: the default
searcher and ASHA, Tune's trial actors, the exchange, TensorBoard. Only the worker groups are
replaced: a light process per slot takes tasks from the exchange and sleeps through its epochs, for
64 real ones would need 64 times PyTorch on one machine. Even so a node takes 0.3 GB (its raylet and
agents, the idle worker, and on the head the trial's actor): 64 want 23 GB; `--nodes 16 --slots 4`
runs as many trials at a time in 17 GB. Measured are CPU seconds and private memory of the driver,
by trials ended so far.
"""

from __future__ import annotations

import argparse
import math
import os
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.record import write_record
from benchmarks.trial_costs import TrialCosts, by_window
from slrtune.cluster.session import library_logs_to, ray_session
from slrtune.cluster.worker_groups import WorkerGroups
from slrtune.config.search_space import Parameter, SearchSpace
from slrtune.config.validate import experiment_from_dict
from slrtune.sweep import runner
from slrtune.sweep.board import SweepBoard
from slrtune.sweep.folder import TENSORBOARD_FOLDER
from slrtune.sweep.plan import SweepPlan
from slrtune.sweep.tensorboard import TensorBoardWatcher

_EPOCHS = 4


def serve_idle(exchange: Any, group_id: int, epoch_s: float) -> None:
    """`worker.serve_trials` without PyTorch: epochs that only take time."""
    import ray

    sender = (group_id, uuid.uuid4().hex)
    ray.get(exchange.join.remote(*sender, 0, os.getpid()))
    previous = None
    while (task := ray.get(exchange.take.remote(*sender, 0, previous))) is not None:
        previous = task.task_id
        training = task.experiment["training"]
        best, is_going_on = 0.0, True
        for epoch in range(1, training["max_epochs"] + 1):
            time.sleep(epoch_s)
            quality = 1.0 - abs(math.log10(training["learning_rate"]) + 3) / 2
            best = max(best, quality * (1 - 0.5**epoch))
            metrics = {
                "epoch": epoch, "val_top1": best, "best_val_top1": best, "val_loss": 1 - best,
                "best_val_loss": 1 - best, "total_s": epoch * epoch_s, "peak_memory_gib": 1.0,
            }  # fmt: skip
            is_going_on = ray.get(exchange.report.remote(*sender, metrics))
            if not is_going_on:
                break
        ray.get(exchange.finish.remote(*sender, {}))


class IdleGroups(WorkerGroups):
    """Worker groups of one light process each."""

    epoch_s: float

    def _trainer(self, group_id: int) -> Any:
        return _IdleTrainer(self.exchange, group_id, self.epoch_s)


class _IdleTrainer:
    def __init__(self, *arguments: Any) -> None:
        self._arguments = arguments

    def fit(self) -> None:
        """Serve until the exchange closes."""
        import ray

        ray.get(ray.remote(num_cpus=1)(serve_idle).remote(*self._arguments))


@contextmanager
def cluster_of(num_nodes: int, num_slots: int) -> Iterator[str]:
    """A head without CPUs and ``num_nodes`` raylets with ``num_slots`` each; yields the address."""
    from ray._private import utils
    from ray.cluster_utils import Cluster

    # Smaller agents beside each raylet.
    utils.get_dashboard_dependency_error = lambda: ImportError("left out")
    store = 80 * 2**20
    cluster = Cluster(True, head_node_args={"num_cpus": 0, "object_store_memory": store})
    try:
        for _ in range(num_nodes):
            cluster.add_node(wait=False, num_cpus=num_slots, object_store_memory=store)
        cluster.wait_for_nodes(timeout=240)
        yield cluster.address
    finally:
        cluster.shutdown()


def measure(folder: Path, num_nodes: int, num_trials: int) -> dict[str, Any]:
    """Run one sweep on the connected cluster."""
    from slrtune.cluster.resources import cluster_nodes, share_cluster

    base = experiment_from_dict(
        {"training": {"max_epochs": _EPOCHS}, "sweep": {"max_trials": num_trials}}, "benchmark"
    )
    parameters = (
        Parameter("training.learning_rate", low=1e-5, high=1e-1, log=True),
        Parameter("training.weight_decay", low=1e-5, high=1e-1, log=True),
        Parameter("training.batch_size", choices=(4, 8, 16)),
        Parameter("model.cnn_transformer.depth", low=1, high=8),
    )
    space = SearchSpace("many_nodes", base, parameters)
    share = share_cluster(cluster_nodes(), base.resources, num_trials)
    plan = SweepPlan(space, folder, share)
    board = SweepBoard("many_nodes", num_trials, share.num_concurrent, base.objective)
    costs = TrialCosts()
    with TensorBoardWatcher(folder / TENSORBOARD_FOLDER, space) as tensorboard:
        started_s = time.perf_counter()
        runner.run_sweep(plan, board, (costs, tensorboard))
    return {
        "nodes": num_nodes,
        "trials": len(costs.ends),  # fewer after Ctrl-C
        "at_a_time": share.num_concurrent,
        "sweep_s": round(time.perf_counter() - started_s, 1),
        "driver_cpu_s_per_trial": costs.driver_cpu_s_by_window(),
        "driver_gib": by_window([end.driver_gib for end in costs.ends], 3),
    }


def main() -> None:
    """Measure, print, write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, default=64)
    parser.add_argument("--slots", type=int, default=1, help="trials at a time on each node")
    parser.add_argument("--trials", type=int, default=320)
    parser.add_argument("--epoch-s", type=float, default=15.0, help="how long an epoch sleeps")
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # So many processes fill a machine of 24 GB, and Ray would begin to kill them.
    os.environ.setdefault("RAY_memory_monitor_refresh_ms", "0")
    runner.WorkerGroups = IdleGroups  # type: ignore[misc]
    IdleGroups.epoch_s = arguments.epoch_s
    with (
        tempfile.TemporaryDirectory() as name,
        cluster_of(arguments.nodes, arguments.slots) as address,
    ):
        folder = Path(name) / "sweep"
        folder.mkdir()
        with ray_session(address=address), library_logs_to(folder / "log"):
            figures = measure(folder, arguments.nodes, arguments.trials)
    path = write_record("many_nodes", figures)
    print(f"{'trials':<12}{'driver CPU-s a trial':>24}{'driver GiB':>14}")
    for trials, cpu_s in figures["driver_cpu_s_per_trial"].items():
        print(f"{trials:<12}{cpu_s:>24.3f}{figures['driver_gib'][trials]:>14.3f}")
    print(f"{figures['trials']} trials in {figures['sweep_s']} s ({path.name})")


if __name__ == "__main__":
    main()
