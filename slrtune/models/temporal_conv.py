"""Convolutions over time in front of a transformer: motion of a few neighbouring frames.

Shapes: B batch, T frames, D width.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from slrtune.models.transformer import LAYER_NORM_EPS, init_weights


class TemporalConvLayer(nn.Module):
    """tokens + GELU(pointwise(depthwise(norm(tokens)))): a depthwise-separable convolution.

    Args:
        embed_dim: width D.
        kernel_size: frames that a convolution sees; odd.
        dropout: on the residual.

    Raises:
        ValueError: ``kernel_size`` is even.
    """

    def __init__(self, embed_dim: int, kernel_size: int, dropout: float) -> None:
        super().__init__()
        if kernel_size % 2 == 0:
            raise ValueError(f"temporal_conv_kernel_size must be odd, but is {kernel_size}")
        self.norm = nn.LayerNorm(embed_dim, eps=LAYER_NORM_EPS)
        self.depthwise = nn.Conv1d(
            embed_dim, embed_dim, kernel_size, padding=kernel_size // 2, groups=embed_dim
        )
        self.pointwise = nn.Linear(embed_dim, embed_dim)
        self.dropout = nn.Dropout(dropout)
        init_weights(self.pointwise)

    def forward(self, tokens: Tensor, frame_mask: Tensor | None) -> Tensor:
        """Mix (B, T, D) tokens of neighbouring frames; ``frame_mask`` (B, T) is True if valid."""
        normed = self.norm(tokens)
        if frame_mask is not None:
            # As beyond the ends of a clip: padding is zero to the convolution.
            normed = normed.masked_fill(~frame_mask[..., None], 0.0)
        mixed = self.depthwise(normed.transpose(1, 2)).transpose(1, 2)
        return tokens + self.dropout(F.gelu(self.pointwise(mixed)))
