"""Activation checkpointing: what backward keeps of forward, and what it computes again.

Chen et al. 2016 (arXiv 1604.06174) keep only the inputs of a region. The selective way (Korthikanti
et al. 2022, arXiv 2205.05198) also keeps what is dear to compute for its size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import (
    CheckpointPolicy,
    SelectiveCheckpointContext,
    checkpoint,
    create_selective_checkpoint_contexts,
)

from slrtune.config.model import ActivationCheckpointing

_aten = torch.ops.aten
_KEPT_KERNELS = {
    _aten.convolution.default,
    _aten._scaled_dot_product_flash_attention.default,
    _aten._scaled_dot_product_flash_attention_for_cpu.default,
    _aten._scaled_dot_product_efficient_attention.default,
    _aten._scaled_dot_product_cudnn_attention.default,
    _aten._scaled_dot_product_fused_attention_overrideable.default,
}


def check_activation_checkpointing(value: ActivationCheckpointing) -> None:
    """Raise ValueError unless ``value`` is True, False or ``selective``."""
    if value not in (True, False, "selective"):
        raise ValueError(
            f"activation_checkpointing must be true, false or selective, but is {value!r}"
        )


def recomputed(
    function: Callable[..., Tensor],
    *inputs: Any,
    mode: ActivationCheckpointing,
    while_recomputing: Callable[[], AbstractContextManager[None]] | None = None,
) -> Tensor:
    """``function(*inputs)``, whose intermediate results backward computes again.

    Results, gradients and the random numbers of dropout are those of a plain call.

    Args:
        function: deterministic but for torch's random numbers.
        inputs: kept until backward.
        mode: True keeps the inputs alone. ``selective`` also keeps the results of convolutions, of
            fused attention and of linear layers that do not narrow (query-key-value, projection,
            the first of an MLP); norms, activation functions, additions and copies are computed
            again, and the second layer of an MLP if backward needs it, which it does not at the
            end of a block. False is a plain call.
        while_recomputing: a context around the recomputation alone; with one, torch.compile leaves
            ``function`` as it is.
    """
    if not mode or not torch.is_grad_enabled():
        return function(*inputs)
    is_selective = mode == "selective"
    if is_selective:
        function = _without_autocast_cache(function)
    if while_recomputing is not None:
        contexts = partial(_contexts, is_selective, while_recomputing)
        run = torch.compiler.disable(checkpoint)
        return run(function, *inputs, use_reentrant=False, context_fn=contexts)
    if is_selective:
        return checkpoint(function, *inputs, use_reentrant=False, context_fn=_selective_contexts)
    return checkpoint(function, *inputs, use_reentrant=False)


def _selective_contexts() -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
    return create_selective_checkpoint_contexts(_policy)


def _contexts(
    is_selective: bool, while_recomputing: Callable[[], AbstractContextManager[None]]
) -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
    """Contexts around forward and around the recomputation."""
    if not is_selective:
        return nullcontext(), while_recomputing()
    caching, cached = _selective_contexts()
    return caching, _both(while_recomputing(), cached)


def _policy(
    _context: SelectiveCheckpointContext, op: Any, *args: Any, **_kwargs: Any
) -> CheckpointPolicy:
    # Only addmm, with the bias inside: a bias added in place would overwrite a kept result.
    is_kept_linear = op is _aten.addmm.default and args[2].shape[1] >= args[2].shape[0]
    if is_kept_linear or op in _KEPT_KERNELS:
        return CheckpointPolicy.MUST_SAVE
    return CheckpointPolicy.PREFER_RECOMPUTE


def _without_autocast_cache(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Cast weights afresh in each call, so that forward and recomputation run the same operators.

    With the cache only the first call of forward casts a weight, but every recomputation does, and
    selective checkpointing counts operators.
    """

    def run(*inputs: Any) -> Tensor:
        device_type = next(x.device.type for x in inputs if isinstance(x, Tensor))
        if not torch.is_autocast_enabled(device_type):
            return function(*inputs)
        dtype = torch.get_autocast_dtype(device_type)
        with torch.autocast(device_type, dtype=dtype, cache_enabled=False):
            return function(*inputs)

    return run


@contextmanager
def _both(outer: AbstractContextManager[Any], inner: AbstractContextManager[Any]) -> Iterator[None]:
    with outer, inner:
        yield
