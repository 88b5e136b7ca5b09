"""Warm worker groups: Ray Train worker groups that live for a whole sweep.

Starting Ray Train for one trial costs 10-20 s on a small machine, most of it process starts and
imports. So one group per concurrency slot is started once (each a `TorchTrainer` whose workers run
`worker.serve_trials`), and trials come to it through the `Exchange`.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from slrtune.cluster.exchange import Exchange
from slrtune.cluster.losses import LossReporter
from slrtune.cluster.resources import ON_HEAD, TrialShare
from slrtune.cluster.session import own_folder_of_ray
from slrtune.cluster.task import Task
from slrtune.cluster.trial_client import TrialClient
from slrtune.cluster.worker import serve_trials
from slrtune.config.addresses import shown
from slrtune.config.errors import UserError
from slrtune.config.mirror import mirror_of

_logger = logging.getLogger(__name__)
_RESTARTS_PER_RUN = 4
# Ray's memory monitor may kill the controller of a group before it kills the worker that is large.
_RUNS_IN_VAIN = 1


class WorkerGroups:
    """The warm groups of a sweep; a context manager that leaves no process behind.

    Args:
        share: workers per group, their resources, and how many groups.
        max_trials_per_group: recycle a group after that many trials; None = only when it grew
            or failed.
    """

    def __init__(self, share: TrialShare, max_trials_per_group: int | None = None) -> None:
        self._share = share
        self._max_trials = max_trials_per_group
        self._threads: list[threading.Thread] = []
        self.exchange: Any = None

    def __enter__(self) -> WorkerGroups:
        # On the head, which outlives spot nodes; without CPUs, which are the workers'.
        actor = ray.remote(num_cpus=0, resources=ON_HEAD, max_concurrency=10_000)(Exchange)
        self.exchange = actor.remote(self._share.num_concurrent)
        for group_id in range(self._share.num_concurrent):
            thread = threading.Thread(
                target=self._keep_group, args=(group_id,), name=f"group-{group_id}", daemon=True
            )
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        is_interrupted_again = kind is KeyboardInterrupt  # now means now
        self.close(timeout_s=1.0 if is_interrupted_again else 120.0)

    def submit(self, task: Task) -> TrialClient:
        """Queue a trial for the next idle group."""
        return TrialClient(self.exchange, task)

    def close(self, timeout_s: float) -> None:
        """Send the groups home and wait for them; trials in progress stop at their next report.

        The wait is long because a group may just be starting anew, and because Ray ends the whole
        process, with exit code 1 and no word, when a thread still uses it after `ray.shutdown`.
        """
        try:
            ray.get(self.exchange.close.remote(), timeout=timeout_s)
        except ray.exceptions.RayError as error:
            _logger.warning("closing the worker groups: %s", error)
        deadline_s = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, deadline_s - time.monotonic()))
        ray.kill(self.exchange)

    def _keep_group(self, group_id: int) -> None:
        """Run one group until the exchange closes.

        Ray Train restarts it when it dies. A group that dies again and again without getting an
        epoch further is given up, or it would die for ever, and silently.
        """
        num_reports = num_in_vain = 0
        while True:
            try:
                self._trainer(group_id).fit()
                return
            except Exception as error:
                _logger.exception("worker group %d ended", group_id)
                message = f"{type(error).__name__}: {error}"
            try:
                num_reports_before = num_reports
                num_reports = ray.get(self.exchange.num_reports.remote(group_id))
                num_in_vain = num_in_vain + 1 if num_reports == num_reports_before else 0
                if num_in_vain > _RUNS_IN_VAIN:
                    ray.get(self.exchange.lose.remote(group_id, message))
                    return
            except ray.exceptions.RayError:
                return  # the exchange is gone: the sweep is over

    def _trainer(self, group_id: int) -> Any:
        import ray.train
        from ray.train.torch import TorchTrainer

        share = self._share
        return TorchTrainer(
            serve_trials,
            train_loop_config={
                "exchange": self.exchange,
                "group_id": group_id,
                "num_threads": share.num_threads,
                "max_trials": self._max_trials,
            },
            **share.train_configs(),
            run_config=ray.train.RunConfig(
                name=f"group_{group_id}",
                storage_path=own_folder_of_ray(),
                callbacks=[LossReporter(self.exchange, group_id)],
                # How often a trial may be retried is the exchange's to decide.
                failure_config=ray.train.FailureConfig(max_failures=_RESTARTS_PER_RUN),
            ),
        )


def check_folder_is_shared(folder: Path) -> None:
    """Every node must see the runs folder, or checkpoints of other nodes are lost; or reach its
    address.

    Raises:
        UserError: a node does not see a file that this process wrote.
    """
    nodes = [node for node in ray.nodes() if node["Alive"]]
    if len(nodes) < 2:
        return
    probe, mirror = folder / f".shared-{os.getpid()}", mirror_of(folder)
    probe.write_text("seen from every node\n")
    if mirror is not None:
        mirror.upload(probe.name)
    try:
        check = ray.remote(num_cpus=0)(_sees)
        for node in nodes:
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            reason = ray.get(check.options(scheduling_strategy=there).remote(str(probe)))
            if reason:
                cure = "set runs_dir to a folder that every node mounts, such as NFS"
                if mirror is not None:
                    cure = "give every node the keys or the role for it"
                raise UserError(
                    f"runs_dir: node {node['NodeManagerAddress']} does not see {shown(folder)} "
                    f"({reason}); {cure}"
                )
    finally:
        probe.unlink(missing_ok=True)
        if mirror is not None:
            mirror.delete(probe.name)


def _sees(probe: str) -> str:
    """Why a file is not seen from this node; empty = it is."""
    path, missing = Path(probe), "it is not there"
    mirror = mirror_of(path.parent)
    if mirror is None:
        return "" if path.exists() else missing
    try:
        return "" if mirror.find(path.name) else missing
    except OSError as error:
        return str(error.strerror)
