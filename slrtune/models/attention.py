"""Scaled dot-product attention over chunks of query rows, with padding.

Shapes: B batch, H heads, Q queries, K keys, D width, L sequence length.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def none_if_all_valid(mask: Tensor | None) -> Tensor | None:
    """``mask``, or None when it masks nothing: attention without a mask is the faster kernel."""
    return None if mask is None or bool(mask.all()) else mask


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
        recompute: keep no intermediate result of a chunk but compute it again in backward. Saves
            memory where no fused kernel applies and the (Q, K) weights are stored.

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
    recompute = recompute and torch.is_grad_enabled()
    return torch.cat(
        [
            checkpoint(attend, chunk, use_reentrant=False) if recompute else attend(chunk)
            for chunk in query.split(chunk_size, dim=2)
        ],
        dim=2,
    )


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

    def forward(self, tokens: Tensor, key_mask: Tensor | None = None) -> Tensor:
        """Mix (B, L, D) tokens; ``key_mask`` (B, L) is True where a token may be attended to."""
        batch, length, width = tokens.shape
        qkv = self.qkv(tokens).view(batch, length, 3, self.num_heads, width // self.num_heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = attention(
            query,
            key,
            value,
            key_mask,
            dropout=self.attention_dropout if self.training else 0.0,
            chunk_size=self.chunk_size,
            recompute=self.recompute,
        )
        return self.dropout(self.proj(mixed.transpose(1, 2).reshape(batch, length, width)))
