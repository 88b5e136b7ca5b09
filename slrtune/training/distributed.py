"""The few collective operations of a data-parallel trial; trivial when there is one process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from slrtune.config.errors import UserError
from slrtune.config.patience import StorageError

Result = TypeVar("Result")


_is_alone: ContextVar[bool] = ContextVar("is_alone", default=False)


@contextmanager
def alone() -> Iterator[None]:
    """Context in which this process is a trial of one worker, whatever group it belongs to.

    For what a rank does by itself: a collective in it would wait for ranks that never come.
    """
    token = _is_alone.set(True)
    try:
        yield
    finally:
        _is_alone.reset(token)


def is_distributed() -> bool:
    """Whether this trial has several workers (Ray Train or torchrun set the group up, not we)."""
    if _is_alone.get():
        return False
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def rank() -> int:
    """Which worker of the trial this is; 0 alone saves and reports."""
    return dist.get_rank() if is_distributed() else 0


def world_size() -> int:
    """Workers of the trial."""
    return dist.get_world_size() if is_distributed() else 1


def wrap(model: nn.Module, device: torch.device) -> nn.Module:
    """The model with gradients averaged over ranks; the model itself for one process.

    Buffers are left alone during an epoch: :func:`average_batch_norm` joins them at its end. To be
    wrapped anew when other parameters learn: DDP waits for the gradients of those of now.
    """
    if not is_distributed():
        return model
    return DistributedDataParallel(
        model,
        device_ids=[device.index] if device.type == "cuda" else None,
        broadcast_buffers=False,
        gradient_as_bucket_view=True,
    )


def accumulating(network: nn.Module, *, is_last: bool) -> AbstractContextManager[None]:
    """Context of one micro-batch: ranks exchange gradients only with the last one of a step."""
    if isinstance(network, DistributedDataParallel) and not is_last:
        return network.no_sync()
    return nullcontext()


def sum_over_ranks(tensor: Tensor) -> Tensor:
    """Element-wise sum; the same bits on every rank."""
    if is_distributed():
        dist.all_reduce(tensor, op=dist.ReduceOp.SUM)
    return tensor


def gathered(part: Result) -> list[Result]:
    """The (small) parts of all ranks, in their order."""
    if not is_distributed():
        return [part]
    parts: list[Any] = [None] * world_size()
    dist.all_gather_object(parts, part)
    return parts


def max_over_ranks(value: float, device: torch.device) -> float:
    """The largest ``value`` of any rank."""
    if not is_distributed():
        return value
    tensor = torch.tensor(value, dtype=torch.float64, device=device)
    dist.all_reduce(tensor, op=dist.ReduceOp.MAX)
    return float(tensor)


@torch.no_grad()
def average_batch_norm(model: nn.Module) -> None:
    """Give all ranks the mean of their BatchNorm statistics, so that they judge the same model.

    Of those in training mode: the others did not move.
    """
    if not is_distributed():
        return
    for module in model.modules():
        if isinstance(module, _BatchNorm) and module.training:
            for statistic in (module.running_mean, module.running_var):
                if statistic is not None:
                    sum_over_ranks(statistic).div_(world_size())


# Whichever rank is heard first, these read the same.
_ALIKE = (UserError, StorageError)


def from_rank_zero(action: Callable[..., Result], *args: Any) -> Result:
    """Run ``action(*args)`` on rank 0 alone and give every rank its (small) result.

    An exception on rank 0 is raised on every rank: else the others would wait for ever.
    """
    if not is_distributed():
        return action(*args)
    outcome: list[Any] = [None, None, None]
    error: Exception | None = None
    if rank() == 0:
        try:
            outcome[0] = action(*args)
        except Exception as caught:
            error = caught
            outcome[2] = next((kind for kind in _ALIKE if isinstance(caught, kind)), None)
            outcome[1] = str(caught) if outcome[2] else f"{type(caught).__name__}: {caught}"
    dist.broadcast_object_list(outcome, src=0)
    if error is not None:
        raise error
    if outcome[1] is not None:
        if outcome[2] is not None:
            raise outcome[2](outcome[1])
        raise RuntimeError(f"rank 0 failed: {outcome[1]}")
    result: Result = outcome[0]
    return result


def rank_zero_first(action: Callable[[], Result]) -> Result:
    """Run ``action`` on every rank, on rank 0 before the others; results stay where they are."""
    results: list[Result] = []
    from_rank_zero(lambda: results.append(action()))
    return results[0] if results else action()
