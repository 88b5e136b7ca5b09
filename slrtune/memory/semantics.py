"""What functions do to tensors without data, and on tensors that should be on a GPU.

Without a GPU, PyTorch cannot trace a backward pass on CUDA tensors, fake or not. So the step is
traced on the CPU, and what differs on CUDA is put in its place here: autocast's list of operators
that stay in float32, the fused attention kernels, dropout with a mask of one byte per element, and
the workspaces of kernels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from slrtune.memory.devices import DeviceType

_aten = torch.ops.aten

# ATen/autocast_mode.h, AT_FORALL_FP32 and AT_FORALL_FP32_SET_OPT_DTYPE, of PyTorch 2.15
_FLOAT32_FUNCTIONS = frozenset((
    "acos", "asin", "binary_cross_entropy_with_logits", "cdist", "cosh",
    "cosine_embedding_loss", "cosine_similarity", "cross_entropy", "cumprod", "cumsum",
    "dist", "erfinv", "exp", "expm1", "group_norm", "hinge_embedding_loss", "huber_loss",
    "kl_div", "l1_loss", "layer_norm", "log", "log10", "log1p", "log2", "log_softmax",
    "logsumexp", "margin_ranking_loss", "mse_loss", "multi_margin_loss",
    "multilabel_margin_loss", "nll_loss", "norm", "pdist", "poisson_nll_loss", "pow",
    "prod", "reciprocal", "renorm", "rms_norm", "rsqrt", "sinh", "smooth_l1_loss",
    "soft_margin_loss", "softmax", "softmin", "softplus", "sum", "tan",
    "triplet_margin_loss",
))  # fmt: skip
_HALF_TYPES = (torch.float16, torch.bfloat16)
_MAX_FLASH_HEAD_DIM = 256
_CUDNN_WORKSPACE_BYTES = 64 * 2**20  # an estimate: cuDNN chooses per shape; calibration corrects it


class FiniteValues(TorchFunctionMode):
    """Answers questions about values, which fake tensors lack: 0, and yes to yes or no.

    Attributes:
        longest_query: most rows of queries that attention was called with.
    """

    def __init__(self) -> None:
        super().__init__()
        self.longest_query = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is F.scaled_dot_product_attention:
            self.longest_query = max(self.longest_query, args[0].shape[-2])
        if func is Tensor.backward:
            # a mode is off within the function it handles, but recomputation needs it
            with self:
                return _backward(args[0])
        if func is F.ctc_loss:
            return _CtcWithoutValues.apply(args[0], args[1])
        if func is Tensor.tolist:
            return _zeros(args[0].shape)
        if func in (Tensor.item, Tensor.__float__):
            return 0.0
        if func is Tensor.__int__:
            return 0
        if func is Tensor.__bool__:
            return True
        return func(*args, **(kwargs or {}))


def _backward(loss: Tensor) -> None:
    # autograd's engine itself: torch.autograd.backward would ask the mode again, without end
    engine = torch.autograd.Variable._execution_engine
    engine.run_backward(
        (loss,), (torch.ones_like(loss),), False, False, (),
        allow_unreachable=True, accumulate_grad=True,
    )  # fmt: skip


class _CtcWithoutValues(torch.autograd.Function):
    """The loss of each clip, and what the real one keeps: PyTorch's reads lengths and targets.

    A table of forward probabilities, of as many states as the longest text has tokens and blanks,
    is kept for the backward pass, which makes another one (ATen/native/LossCTC.cpp, cuda/LossCTC.cu
    of PyTorch 2.15).
    """

    @staticmethod
    def forward(ctx: Any, log_probs: Tensor, targets: Tensor) -> Tensor:
        """Of log_probs (Q, B, V) and targets (B, L)."""
        num_steps, batch = log_probs.shape[:2]
        alpha = log_probs.new_empty(batch, num_steps, 2 * targets.shape[1] + 1)
        ctx.save_for_backward(log_probs, alpha)
        return log_probs.new_empty(batch)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        """The gradient of log_probs."""
        log_probs, alpha = ctx.saved_tensors
        beta = torch.empty_like(alpha)
        gradient = torch.empty_like(log_probs)
        del beta
        return gradient, None


def _zeros(shape: Sequence[int]) -> Any:
    return [_zeros(shape[1:]) for _ in range(shape[0])] if shape else 0.0


class CudaSemantics(FiniteValues):
    """While active, functions on CPU tensors keep what they would keep on a GPU.

    Args:
        device: the GPU.
    """

    def __init__(self, device: DeviceType) -> None:
        super().__init__()
        self._has_flash = device.has_flash_attention

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func is F.scaled_dot_product_attention:
            self.longest_query = max(self.longest_query, args[0].shape[-2])
            return _attention(*args, **kwargs, has_flash=self._has_flash)
        if func in (F.dropout, torch.dropout):
            return _dropout(*args, **kwargs)
        name = getattr(func, "__name__", "")
        if name in _FLOAT32_FUNCTIONS and torch.is_autocast_enabled("cpu"):
            args = [_to_float32(value) for value in args]
            kwargs = {key: _to_float32(value) for key, value in kwargs.items()}
        return super().__torch_function__(func, types, args, kwargs)


def _to_float32(value: Any) -> Any:
    is_half = isinstance(value, Tensor) and value.dtype in _HALF_TYPES
    return value.float() if is_half else value


def _dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    # the random mask is one byte per element; the CPU keeps a factor in the input's type
    if not training or p == 0.0:
        return input
    return torch.native_dropout(input, p, training)[0]


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    has_flash: bool,
    **_: Any,
) -> Tensor:
    """Fused attention: FlashAttention where it applies, else the memory-efficient kernel."""
    if torch.is_autocast_enabled("cpu"):
        dtype = torch.get_autocast_dtype("cpu")
        query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
    head_dim = query.shape[-1]
    is_half = query.dtype in _HALF_TYPES
    if has_flash and is_half and attn_mask is None and head_dim <= _MAX_FLASH_HEAD_DIM:
        missing = -head_dim % 8
        if missing:
            query, key, value = (F.pad(tensor, (0, missing)) for tensor in (query, key, value))
        mixed: Tensor = _aten._scaled_dot_product_flash_attention(
            query, key, value, dropout_p, is_causal
        )[0]
        return mixed[..., :head_dim] if missing else mixed
    bias = None
    if attn_mask is not None:
        bias = attn_mask.to(query.dtype)
        bias = bias.expand(*query.shape[:3], key.shape[2])
    keeps_logsumexp = torch.is_grad_enabled() and any(
        tensor.requires_grad for tensor in (query, key, value)
    )
    mixed = _aten._scaled_dot_product_efficient_attention(
        query, key, value, bias, keeps_logsumexp, dropout_p, is_causal
    )[0]
    return mixed


def workspace_bytes(func: Any, args: Sequence[Any]) -> int:
    """Bytes that CUDA kernels of an operator allocate and free within it; 0 for most.

    Attention: float32 accumulators of the query's gradient (``dq_accum`` and ``softmax_d`` of
    FlashAttention 2, whose rows are padded to 128, ``workspace_size`` of the memory-efficient
    kernel). Convolutions: what cuDNN is expected to choose.
    """
    if func is _aten._scaled_dot_product_flash_attention_backward.default:
        return _accumulator_bytes(args[1], row_block=128, column_block=32)
    if func is _aten._scaled_dot_product_efficient_attention_backward.default:
        if args[1].dtype == torch.float32:
            return 4 * math.prod(args[1].shape[:3])
        return _accumulator_bytes(args[1], row_block=64, column_block=32)
    if func in (_aten.convolution.default, _aten.convolution_backward.default):
        return _CUDNN_WORKSPACE_BYTES
    return 0


def _accumulator_bytes(query: Tensor, row_block: int, column_block: int) -> int:
    batch, num_heads, num_rows, head_dim = query.shape
    num_rows += -num_rows % row_block
    head_dim += -head_dim % column_block
    return 4 * batch * num_heads * num_rows * (head_dim + 1)
