"""torch.compile: the same model with the same names, faster on GPUs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

BACKEND = "inductor"


def compile_in_place(module: nn.Module) -> None:
    """Compile the calls of ``module``: no wrapper, so that state dicts keep their names.

    Before DistributedDataParallel wraps it, which torch.compile takes into account.
    """
    module.compile(backend=BACKEND)


def mark_batch_dynamic(inputs: Tensor) -> Tensor:
    """Tell the compiler that dimension 0 varies: the last batch of a split is a short one."""
    torch._dynamo.maybe_mark_dynamic(inputs, 0)
    return inputs


def forget_compiled_code() -> None:
    """Drop all compiled code of the process, which would keep a trial's model alive."""
    torch.compiler.reset()
