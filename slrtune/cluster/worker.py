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

from slrtune.cluster.exchange import Task
from slrtune.config.errors import UserError
from slrtune.config.validate import experiment_from_dict

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

    exchange, group_id = config["exchange"], config["group_id"]
    rank = ray.train.get_context().get_world_rank()
    world_size = ray.train.get_context().get_world_size()
    torch.set_num_threads(config["num_threads"])
    life = _shared_token(rank, world_size)
    ray.get(exchange.join.remote(group_id, life, rank, os.getpid()))
    baseline_gib: float | None = None
    previous: str | None = None
    num_served = 0
    while True:
        task: Task | None = ray.get(exchange.take.remote(group_id, rank, previous))
        if task is None:
            return
        _run(task, exchange, group_id, rank, world_size)
        previous = task.task_id
        num_served += 1
        gc.collect()
        now_gib = private_memory_gib()
        baseline_gib = now_gib if baseline_gib is None else baseline_gib
        if now_gib - baseline_gib > _MAX_GROWTH_GIB:
            raise GroupRecycledError(
                f"the worker grew from {baseline_gib:.1f} to {now_gib:.1f} GiB"
            )
        if config["max_trials"] is not None and num_served >= config["max_trials"]:
            raise GroupRecycledError(f"the worker served {num_served} trials")


def _run(task: Task, exchange: Any, group_id: int, rank: int, world_size: int) -> None:
    import torch

    from slrtune.training.trial import train_trial

    def report(metrics: dict[str, float]) -> bool:
        return bool(ray.get(exchange.report.remote(group_id, metrics)))

    try:
        experiment = experiment_from_dict(task.experiment, task.task_id)
        ended = train_trial(experiment, Path(task.folder), report)
        summary = {**dataclasses.asdict(ended), "best_checkpoint": str(ended.best_checkpoint)}
    except Exception as error:
        ray.get(exchange.fail.remote(group_id, describe_error(error)))
        if world_size > 1:
            # The other ranks wait in a collective for this one: only a restart frees them.
            raise GroupRecycledError("a rank failed") from error
        is_cuda_error = isinstance(error, (torch.cuda.OutOfMemoryError, torch.AcceleratorError))
        if is_cuda_error:
            # A CUDA error may poison the context for all later trials.
            raise GroupRecycledError("CUDA error") from error
        return
    if rank == 0:
        ray.get(exchange.finish.remote(group_id, summary))


def describe_error(error: BaseException) -> dict[str, str]:
    """Plain data that says what went wrong; mistakes of the user carry no traceback."""
    is_user_error = isinstance(error, UserError)
    lines = [] if is_user_error else traceback.format_exception(error)
    return {
        "error_type": type(error).__name__,
        "message": str(error) or type(error).__name__,
        "traceback": "".join(lines),
    }


def private_memory_gib() -> float:
    """Anonymous resident memory of this process: without the mapped clip cache, which is shared."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0.0  # not Linux: groups are then recycled by count only
    anonymous = [line for line in status.splitlines() if line.startswith("RssAnon:")]
    return int(anonymous[0].split()[1]) / 2**20 if anonymous else 0.0


def _shared_token(rank: int, world_size: int) -> str:
    """A name that the ranks of this life of the group share, and no other life."""
    token = [uuid.uuid4().hex if rank == 0 else ""]
    if world_size > 1:
        import torch.distributed

        torch.distributed.broadcast_object_list(token, src=0)
    return token[0]
