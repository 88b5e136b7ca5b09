"""What is alive on the device after each operator of a step."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, UntypedStorage

from slrtune.training.peak_memory import StorageTracker, block_bytes

_DEVICE = torch.ops.prim.device.default

WorkspaceFn = Callable[[Any, Sequence[Any]], int]
"""Bytes that the kernel of an operator takes and frees within itself, from its arguments."""


@dataclass(frozen=True)
class Timeline:
    """Bytes after each operator, in the order of their execution; all arrays are of one length.

    Attributes:
        operators: a number for each operator; equal numbers are equal operators.
        live: bytes alive, workspace included.
        gradients: of these, gradients of parameters.
        workspace: of these, what the kernel took and freed within itself.
    """

    operators: np.ndarray
    live: np.ndarray
    gradients: np.ndarray
    workspace: np.ndarray

    @property
    def peak(self) -> int:
        """Place of the operator with the most bytes alive."""
        return int(self.live.argmax())


class TimelineTracker(StorageTracker):
    """A storage tracker that remembers every operator, and which bytes are gradients.

    Args:
        workspace_of: None = kernels have no workspace.
    """

    def __init__(self, workspace_of: WorkspaceFn | None = None) -> None:
        super().__init__()
        self._workspace_of = workspace_of
        self._gradients: dict[int, weakref.ref[UntypedStorage]] = {}
        self._gradient_bytes = 0
        self._rows: list[tuple[int, int, int, int]] = []

    def mark_gradient(self, parameter: Tensor) -> None:
        """Hook for parameters: what ``parameter.grad`` holds is a gradient until it is freed."""
        assert parameter.grad is not None
        storage = parameter.grad.untyped_storage()
        key, num_bytes = storage._cdata, block_bytes(storage)
        if key in self._gradients:
            return

        def forget(_: object) -> None:
            del self._gradients[key]
            self._gradient_bytes -= num_bytes

        self._gradients[key] = weakref.ref(storage, forget)
        self._gradient_bytes += num_bytes

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is _DEVICE:  # a question, asked more often than all operators together
            return func(*args)
        result = super().__torch_dispatch__(func, types, args, kwargs)
        workspace = self._workspace_of(func, args) if self._workspace_of is not None else 0
        self._rows.append((hash(func), self.live_bytes, self._gradient_bytes, workspace))
        return result

    def restart(self) -> None:
        """Forget the operators so far, but not what is alive."""
        self._rows.clear()

    def timeline(self) -> Timeline:
        """Everything since the last :meth:`restart`."""
        rows = np.array(self._rows, dtype=np.int64).reshape(-1, 4)
        operators, live, gradients, workspace = rows.T
        return Timeline(operators, live + workspace, gradients, workspace)

    # What the Trainer asks of its PeakMemory.

    peak_gib = peak_reserved_gib = 0.0

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """Context of a part of an optimizer step."""
        with self:
            yield

    def end_step(self) -> None:
        """Nothing to do: all steps are tracked."""
