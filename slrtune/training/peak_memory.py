"""How much device memory a trial needed at its worst moment, measured, on GPU and on CPU."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, UntypedStorage, nn
from torch.utils._python_dispatch import TorchDispatchMode

_BYTES_PER_GIB = 2**30
_BLOCK_BYTES = 512  # the CUDA caching allocator's granularity
_NUM_TRACKED_STEPS = 2  # the first lacks optimizer state, from the second on all are alike


def free_memory() -> None:
    """Give what nothing refers to any more back to the device, reference cycles included."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def block_bytes(storage: UntypedStorage) -> int:
    """Bytes that the CUDA caching allocator hands out for ``storage``."""
    return -(-storage.nbytes() // _BLOCK_BYTES) * _BLOCK_BYTES


class BudgetExceededError(torch.OutOfMemoryError):
    """On the CPU what running out of memory is on a GPU.

    Attributes:
        needed_gib: at least this much would have been needed.
    """

    def __init__(self, needed_gib: float, budget_gib: float) -> None:
        super().__init__(
            f"the tensors of a training step take {needed_gib:.3f} GiB or more, but the memory "
            f"budget leaves them {budget_gib:.3f} GiB"
        )
        self.needed_gib = needed_gib


class StorageTracker(TorchDispatchMode):
    """While active, counts the bytes of every live tensor that an operator reads or writes.

    Storages are counted once, however many views share them, from when an operator first shows
    them until they are freed, also when that happens while the tracker is not active. What a
    kernel allocates and frees within itself is not seen.

    Args:
        limit_gib: the operator that makes more than this alive raises BudgetExceededError.
    """

    def __init__(self, limit_gib: float | None = None) -> None:
        super().__init__()
        self._limit_gib = limit_gib
        self.live_bytes = 0
        self.peak_bytes = 0
        self._live: dict[int, weakref.ref[UntypedStorage]] = {}

    def track(self, tensors: Iterable[Tensor]) -> None:
        """Count ``tensors`` that exist already, such as parameters."""
        for tensor in tensors:
            if tensor.layout is torch.strided:
                self._count(tensor.untyped_storage())

    def _count(self, storage: UntypedStorage) -> None:
        key = storage._cdata
        if key in self._live:
            return
        num_bytes = block_bytes(storage)

        def forget(_: object) -> None:
            del self._live[key]
            self.live_bytes -= num_bytes

        self._live[key] = weakref.ref(storage, forget)
        self.live_bytes += num_bytes
        self.peak_bytes = max(self.peak_bytes, self.live_bytes)
        if self._limit_gib is not None and self.live_bytes > self._limit_gib * _BYTES_PER_GIB:
            raise BudgetExceededError(self.live_bytes / _BYTES_PER_GIB, self._limit_gib)

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        self._count_in(args)
        self._count_in(kwargs.values())
        result = func(*args, **kwargs)
        self._count_in((result,))
        return result

    def _count_in(self, values: Iterable[Any]) -> None:
        # operators nest tensors in lists and tuples only; a general tree walk would take longer
        # than many an operator
        for value in values:
            if isinstance(value, Tensor):
                if value.layout is torch.strided:
                    self._count(value.untyped_storage())
            elif isinstance(value, (list, tuple)):
                self._count_in(value)


class PeakMemory:
    """Peak memory of one trial on one device, from construction on.

    CUDA: what the allocator handed out at most, over the whole trial. CPU: parameters, buffers,
    gradients, optimizer state, activations and batch, tracked during the first two optimizer
    steps, which is what the same steps would take on a GPU (kernels' workspaces aside).

    Args:
        model: already on the device.
        device: where it trains.
        limit_gib: tensors may take no more, else torch.OutOfMemoryError is raised. CUDA: by the
            allocator, for the process from now on. CPU: in the tracked steps.
    """

    def __init__(
        self, model: nn.Module, device: torch.device, limit_gib: float | None = None
    ) -> None:
        self._device = device
        self._num_steps_left = _NUM_TRACKED_STEPS
        self._tracker: StorageTracker | None = None
        self._peak_bytes = 0
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            limit_gpu_memory(device, limit_gib)
            self._num_steps_left = 0
        else:
            self._tracker = StorageTracker(limit_gib)
            self._tracker.track((*model.parameters(), *model.buffers()))

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """Context of a part of an optimizer step. Loading clips stays outside: it is host work."""
        if self._tracker is None:
            yield
            return
        with self._tracker:
            yield

    def end_step(self) -> None:
        """Mark the end of an optimizer step; after the second one tracking costs nothing."""
        self._num_steps_left -= 1
        if self._tracker is not None and self._num_steps_left == 0:
            self._peak_bytes = self._tracker.peak_bytes
            self._tracker = None

    @property
    def peak_gib(self) -> float:
        """The peak so far, in GiB."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) / _BYTES_PER_GIB
        if self._tracker is not None:
            return self._tracker.peak_bytes / _BYTES_PER_GIB
        return self._peak_bytes / _BYTES_PER_GIB

    @property
    def peak_reserved_gib(self) -> float:
        """What CUDA's allocator took from the GPU at most, holes included; on CPU the peak."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_reserved(self._device) / _BYTES_PER_GIB
        return self.peak_gib


def limit_gpu_memory(device: torch.device, limit_gib: float | None) -> None:
    """Let this process's allocator take at most ``limit_gib`` of the GPU; None = all of it."""
    total_gib = torch.cuda.get_device_properties(device).total_memory / _BYTES_PER_GIB
    fraction = 1.0 if limit_gib is None else min(max(limit_gib / total_gib, 0.0), 1.0)
    torch.cuda.set_per_process_memory_fraction(fraction, device)
