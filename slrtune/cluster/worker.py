"""Inside a Ray Train worker: take a trial, run the plain engine, report, take the next."""

from __future__ import annotations

import dataclasses
import gc
import os
import traceback
import uuid
from pathlib import Path
from typing import Any

import ray

from slrtune.cluster.task import Task
from slrtune.cluster.whereabouts import whereabouts
from slrtune.config.addresses import address_of, here
from slrtune.config.errors import UserError
from slrtune.config.experiment import Experiment
from slrtune.config.patience import StorageError, patiently
from slrtune.config.validate import experiment_from_dict
from slrtune.memory import MemoryBudgetError, TrialMemory
from slrtune.training import distributed
from slrtune.training.out_of_memory import forget_peak, is_out_of_memory, peak_at_failure_gib
from slrtune.training.trial import train_trial

# A group whose private memory grew by more than this is replaced by a fresh one.
_MAX_GROWTH_GIB = 1.0


class GroupRecycledError(RuntimeError):
    """Raised out of the train function: Ray Train then starts a fresh group in its place."""


def serve_trials(config: dict[str, Any]) -> None:
    """Ray Train's train function: serve trials until the exchange closes.

    Args:
        config: ``exchange`` (actor handle), ``group_id``, ``num_threads`` and ``max_trials``
            (recycle after that many; None = never).
    """
    import ray.train
    import torch

    torch.set_num_threads(config["num_threads"])
    context = ray.train.get_context()
    post = _Post(config["exchange"], config["group_id"], context.get_world_rank())
    baseline_gib: float | None = None
    previous: str | None = None
    num_served = 0
    while (task := post.take(previous)) is not None:
        _run(task, post, context.get_world_size())
        previous = task.task_id
        num_served += 1
        gc.collect()
        now_gib = process_memory_gib()
        baseline_gib = now_gib if baseline_gib is None else baseline_gib
        if now_gib - baseline_gib > _MAX_GROWTH_GIB:
            raise GroupRecycledError(
                f"the worker grew from {baseline_gib:.1f} to {now_gib:.1f} GiB"
            )
        if config["max_trials"] is not None and num_served >= config["max_trials"]:
            raise GroupRecycledError(f"the worker served {num_served} trials")


class _Post:
    """One worker process's line to the exchange.

    Args:
        exchange: handle of the exchange actor.
        group_id: this worker's group.
        rank: this worker's rank in it.
    """

    def __init__(self, exchange: Any, group_id: int, rank: int) -> None:
        self._exchange, self._rank = exchange, rank
        # A name that the ranks of this life of the group share, and no other life.
        self._sender = (group_id, distributed.from_rank_zero(_new_name))
        self._whereabouts: dict[str, Any] = {}
        ray.get(exchange.join.remote(*self._sender, rank, os.getpid()))

    def take(self, previous: str | None) -> Task | None:
        """The next task; None when there is no more."""
        task: Task | None = ray.get(self._exchange.take.remote(*self._sender, self._rank, previous))
        self._whereabouts = whereabouts()  # from now on it works on this task
        return task

    def report(self, metrics: dict[str, float]) -> bool:
        """Send an epoch; whether to go on."""
        told = {**metrics, **self._whereabouts}
        return bool(ray.get(self._exchange.report.remote(*self._sender, told)))

    def finish(self, summary: dict[str, Any]) -> None:
        """The task is done."""
        ray.get(self._exchange.finish.remote(*self._sender, summary))

    def fail(self, error: BaseException) -> None:
        """The task failed."""
        told = {**describe_error(error), "whereabouts": self._whereabouts}
        ray.get(self._exchange.fail.remote(*self._sender, told))


def _run(task: Task, post: _Post, world_size: int) -> None:
    def report(metrics: dict[str, float]) -> bool:
        return distributed.from_rank_zero(post.report, metrics)

    forget_peak()
    try:
        experiment = experiment_from_dict(task.experiment, task.task_id)
        folder = here(Path(task.folder))
        if address_of(folder) is None:
            # Where it is away, so are the checkpoints: the trial would begin anew.
            patiently(folder.parent.stat, folder.parent, experiment.resources.storage_patience_s)
        memory = TrialMemory()
        ended = train_trial(experiment, folder, report, memory, use_profiler=task.use_profiler)
        if _has_met_its_peak(experiment, ended.best):
            memory.learn(ended.best["peak_memory_gib"])
    except Exception as error:
        post.fail(error)
        if world_size > 1:
            # The other ranks wait in a collective for this one: only a restart frees them.
            raise GroupRecycledError("a rank failed") from error
        if _is_cuda_error(error):
            # It may poison the CUDA context for all later trials.
            raise GroupRecycledError("CUDA error") from error
        # Having run out of memory does not: `train_trial` has given all of it back.
        return
    summary = {**dataclasses.asdict(ended), "best_checkpoint": str(ended.best_checkpoint)}
    distributed.from_rank_zero(post.finish, summary)


def _has_met_its_peak(experiment: Experiment, best: dict[str, float]) -> bool:
    """Whether the peak is of what was predicted: an encoder that learns, and kernels of eager."""
    training = experiment.training
    is_whole = best["epoch"] > training.freeze_epochs
    is_frozen_for_ever = training.freeze_epochs >= training.max_epochs
    return (is_whole or is_frozen_for_ever) and not training.compile


def _is_cuda_error(error: Exception) -> bool:
    import torch

    # An out-of-memory error of CUDA itself, not of PyTorch's allocator, is one of these.
    return isinstance(error, torch.AcceleratorError)


def _new_name() -> str:
    return uuid.uuid4().hex


def describe_error(error: BaseException) -> dict[str, Any]:
    """Plain data that says what went wrong.

    Mistakes of the user carry no traceback; ``is_storage_away`` says that the trial could not be
    kept and nothing else is wrong with it; ``is_out_of_memory`` and ``peak_gib`` (None = not
    measured) say whether memory ran out, and at what.
    """
    is_user_error = isinstance(error, UserError)
    lines = [] if is_user_error else traceback.format_exception(error)
    is_oom = is_out_of_memory(error)
    peak_gib = peak_at_failure_gib(error) if is_oom else None
    if isinstance(error, MemoryBudgetError):  # not even a micro-batch of one clip fits
        is_oom, peak_gib = True, error.predicted_gib
    return {
        "error_type": type(error).__name__,
        "message": str(error) or type(error).__name__,
        "traceback": "".join(lines),
        "is_out_of_memory": is_oom,
        "is_storage_away": isinstance(error, StorageError),
        "peak_gib": peak_gib,
    }


def process_memory_gib() -> float:
    """What this process holds between two trials, on the host and on its GPU."""
    import torch

    on_gpu = torch.cuda.memory_reserved() / 2**30 if torch.cuda.is_available() else 0.0
    return private_memory_gib() + on_gpu


def private_memory_gib() -> float:
    """Anonymous resident memory of this process: without the mapped clip cache, which is shared."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0.0  # not Linux: groups are then recycled by count only
    anonymous = [line for line in status.splitlines() if line.startswith("RssAnon:")]
    return int(anonymous[0].split()[1]) / 2**20 if anonymous else 0.0
