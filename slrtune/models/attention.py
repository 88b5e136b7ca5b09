"""Scaled dot-product attention over chunks of query rows, with padding.

Shapes: B batch, H heads, Q queries, K keys, D width, L sequence length.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import is_fake

from slrtune.models.recompute import recomputed


def none_if_all_valid(mask: Tensor | None) -> Tensor | None:
    """``mask``, or None when it masks nothing: attention without a mask is the faster kernel.

    Only where a look is free. On a GPU it would wait for the device, in a compiled graph it would
    break the graph, and fake tensors have no values: there the mask stays, with the same results.
    """
    if mask is None or torch.compiler.is_compiling() or mask.device.type != "cpu" or is_fake(mask):
        return mask
    return None if bool(mask.all()) else mask


def _keeps_weights(query: Tensor, dropout: float) -> bool:
    """Whether torch has no fused kernel here, so that backward needs the (Q, K) weights."""
    return query.device.type not in ("cpu", "cuda") or (
        query.device.type == "cpu" and dropout > 0.0
    )


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    key_mask: Tensor | None = None,
    *,
    dropout: float = 0.0,
    chunk_size: int | None = None,
    recompute: bool = False,
) -> Tensor:
    """softmax(query @ key^T / sqrt(D)) @ value (Vaswani et al. 2017, equation 1).

    Each query row's softmax is over all keys whatever the chunk, so chunks give the same result
    and gradients as one piece (without dropout, whose random numbers fall differently).

    Args:
        query: (B, H, Q, D).
        key: (B, H, K, D).
        value: (B, H, K, D).
        key_mask: (B, K) booleans, True where the key is valid. A sequence without any valid key
            attends to all of its keys, because a softmax over nothing would be NaN.
        dropout: probability to drop an attention weight.
        chunk_size: query rows processed at once; None for all.
        recompute: keep no intermediate result of a chunk but compute it again in backward, where
            that saves memory: where no fused kernel applies, as with dropout on the CPU, and the
            (Q, K) weights would be kept. A fused kernel keeps none, so is never run again.

    Returns:
        (B, H, Q, D).

    Raises:
        ValueError: ``chunk_size`` is below 1.
    """
    if chunk_size is not None and chunk_size < 1:
        raise ValueError(f"attention_chunk_size must be >= 1 or None, but is {chunk_size}")
    mask = None
    if key_mask is not None:
        mask = (key_mask | ~key_mask.any(dim=1, keepdim=True))[:, None, None, :]

    def attend(query_chunk: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(
            query_chunk, key, value, attn_mask=mask, dropout_p=dropout
        )

    if chunk_size is None or query.shape[2] <= chunk_size:
        return attend(query)
    recompute = recompute and _keeps_weights(query, dropout)
    chunks = query.split(chunk_size, dim=2)
    return torch.cat([recomputed(attend, chunk, mode=recompute) for chunk in chunks], dim=2)


class SelfAttention(nn.Module):
    """Multi-head self-attention with fused query, key and value projections.

    Args:
        embed_dim: width D of the tokens.
        num_heads: heads; must divide ``embed_dim``.
        qkv_bias: whether the query, key and value projections have a bias.
        dropout: after the output projection.
        attention_dropout: on the attention weights.
        chunk_size, recompute: see :func:`attention`.

    Raises:
        ValueError: ``embed_dim`` is not divisible by ``num_heads``.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        *,
        qkv_bias: bool = True,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        chunk_size: int | None = None,
        recompute: bool = False,
    ) -> None:
        super().__init__()
        if embed_dim % num_heads:
            raise ValueError(
                f"embed_dim must be divisible by num_heads, but {embed_dim} % {num_heads} "
                f"= {embed_dim % num_heads}"
            )
        self.num_heads = num_heads
        self.attention_dropout = attention_dropout
        self.chunk_size = chunk_size
        self.recompute = recompute
        self.qkv = nn.Linear(embed_dim, 3 * embed_dim, bias=qkv_bias)
        self.proj = nn.Linear(embed_dim, embed_dim)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, tokens: Tensor, key_mask: Tensor | None = None, num_queries: int | None = None
    ) -> Tensor:
        """Mix tokens.

        Args:
            tokens: (B, L, D).
            key_mask: (B, L), True where a token may be attended to.
            num_queries: only the first ones attend; None for all.

        Returns:
            (B, num_queries, D).
        """
        query, key, value = self._project(tokens, num_queries)
        mixed = self._attend(query, key, value, key_mask)
        return self.dropout(self.proj(mixed.transpose(1, 2).flatten(2)))

    def mix_over_time(self, tokens: Tensor, frame_mask: Tensor | None) -> Tensor:
        """Mix each place of the image over the frames, without the output projection.

        Args:
            tokens: (B, T, S, D), S places in each of T frames.
            frame_mask: (B, T), True where a frame may be attended to.

        Returns:
            (B, T, S, D).
        """
        batch, num_frames, num_places, width = tokens.shape
        num_sequences = num_places * self.num_heads
        biases = (None,) * 3 if self.qkv.bias is None else self.qkv.bias.chunk(3)
        # Apart rather than in one tensor, places and heads are one dimension, so no copy is needed
        # to bring the frames together.
        query, key, value = (
            F.linear(tokens.flatten(1, 2), weight, bias)
            .view(batch, num_frames, num_sequences, width // self.num_heads)
            .transpose(1, 2)
            for weight, bias in zip(self.qkv.weight.chunk(3), biases, strict=True)
        )
        mixed = self._attend(query, key, value, frame_mask)
        return mixed.transpose(1, 2).reshape(tokens.shape)

    def _project(self, tokens: Tensor, num_queries: int | None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, (B, H, L, D / H) each."""

        def heads(projected: Tensor, count: int) -> tuple[Tensor, ...]:
            split = projected.unflatten(2, (count, self.num_heads, -1))
            return split.permute(2, 0, 3, 1, 4).unbind(0)

        if num_queries is None:
            query, key, value = heads(self.qkv(tokens), 3)
            return query, key, value
        weight, bias, width = self.qkv.weight, self.qkv.bias, tokens.shape[2]
        query_bias, other_bias = (None, None) if bias is None else (bias[:width], bias[width:])
        (query,) = heads(F.linear(tokens[:, :num_queries], weight[:width], query_bias), 1)
        key, value = heads(F.linear(tokens, weight[width:], other_bias), 2)
        return query, key, value

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        return attention(
            query,
            key,
            value,
            mask,
            dropout=self.attention_dropout if self.training else 0.0,
            chunk_size=self.chunk_size,
            recompute=self.recompute,
        )
