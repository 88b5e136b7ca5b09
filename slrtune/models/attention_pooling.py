"""From the frames of a clip to a fixed number of tokens, and what refines them.

Shapes: B batch, T frames, D width, Q tokens of the video.
"""

from __future__ import annotations

from torch import Tensor, nn

from slrtune.models.attention import attention
from slrtune.models.positions import learned_tokens
from slrtune.models.transformer import LAYER_NORM_EPS, Mlp, xavier_weights


class AttentionPooling(nn.Module):
    """Learned queries gather the frames into as many tokens.

    Args:
        num_queries: Q.
        embed_dim: width D.
        num_heads: attention heads; must divide ``embed_dim``.
    """

    def __init__(self, num_queries: int, embed_dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.queries = learned_tokens(num_queries, embed_dim)
        self.norm = nn.LayerNorm(embed_dim, eps=LAYER_NORM_EPS)
        self.query = nn.Linear(embed_dim, embed_dim)
        self.key_value = nn.Linear(embed_dim, 2 * embed_dim)
        self.proj = nn.Linear(embed_dim, embed_dim)
        self.apply(xavier_weights)

    def forward(self, tokens: Tensor, frame_mask: Tensor | None) -> Tensor:
        """(B, T, D) tokens of frames, ``frame_mask`` (B, T) True if valid, to (B, Q, D)."""
        query = self.query(self.queries).unflatten(2, (self.num_heads, -1)).transpose(1, 2)
        split = self.key_value(self.norm(tokens)).unflatten(2, (2, self.num_heads, -1))
        key, value = split.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = attention(query.expand(len(tokens), -1, -1, -1), key, value, frame_mask)
        return self.queries + self.proj(mixed.transpose(1, 2).flatten(2))


class ResidualMlp(nn.Module):
    """tokens + MLP(norm(tokens))."""

    def __init__(self, embed_dim: int, mlp_ratio: float, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(embed_dim, eps=LAYER_NORM_EPS)
        self.mlp = Mlp(embed_dim, int(embed_dim * mlp_ratio), dropout)
        self.apply(xavier_weights)

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens + self.mlp(self.norm(tokens))
