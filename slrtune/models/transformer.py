"""Pre-norm transformer encoder (Vaswani et al. 2017; pre-norm as in Xiong et al. 2020).

Shapes: B batch, L sequence length, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch.nn.functional as F
from timm.layers import DropPath
from torch import Tensor, nn

from slrtune.config.model import ActivationCheckpointing
from slrtune.models.attention import SelfAttention
from slrtune.models.recompute import check_activation_checkpointing, recomputed

# As in ViT, TimeSformer and their published weights; torch's own default is 1e-5.
LAYER_NORM_EPS = 1e-6
INIT_STD = 0.02


def init_weights(module: nn.Module) -> None:
    """Truncated normal weights and zero biases for linear layers and patch projections.

    For use with ``Module.apply``.
    """
    if isinstance(module, nn.Linear | nn.Conv2d):
        nn.init.trunc_normal_(module.weight, std=INIT_STD)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def xavier_weights(module: nn.Module) -> None:
    """Xavier-uniform weights (Glorot and Bengio 2010) and zero biases for linear layers.

    For parts that always start from scratch. With the small weights of :func:`init_weights`, made
    for wide networks, narrow attention starts so even that it takes epochs to find where to look.
    """
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def mean_of_valid_frames(values: Tensor, frame_mask: Tensor | None) -> Tensor:
    """(B, L, D) averaged over the frames that ``frame_mask`` (B, L) calls valid: (B, D)."""
    if frame_mask is None:
        return values.mean(dim=1)
    num_valid = frame_mask.sum(dim=1, keepdim=True).clamp(min=1)
    return (values * frame_mask[..., None]).sum(dim=1) / num_valid


class Mlp(nn.Module):
    """Linear, GELU, Linear with dropout after both."""

    def __init__(self, embed_dim: int, hidden_dim: int, dropout: float) -> None:
        super().__init__()
        self.fc1 = nn.Linear(embed_dim, hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, embed_dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.dropout(self.fc2(self.dropout(F.gelu(self.fc1(tokens)))))


class EncoderBlock(nn.Module):
    """Pre-norm block: tokens + attention(norm(tokens)), then + MLP(norm(tokens)).

    Args:
        embed_dim: width D.
        new_attention: builds the self-attention of width D.
        mlp_ratio: hidden width of the MLP as a multiple of D.
        dropout: after both linear layers of the MLP.
        drop_path: probability to skip a residual branch for a sequence (Huang et al. 2016).
    """

    def __init__(
        self,
        embed_dim: int,
        new_attention: Callable[[], SelfAttention],
        *,
        mlp_ratio: float,
        dropout: float,
        drop_path: float,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(embed_dim, eps=LAYER_NORM_EPS)
        self.attention = new_attention()
        self.norm2 = nn.LayerNorm(embed_dim, eps=LAYER_NORM_EPS)
        self.mlp = Mlp(embed_dim, int(embed_dim * mlp_ratio), dropout)
        self.drop_path = DropPath(drop_path)
        self.apply(init_weights)

    def forward(
        self, tokens: Tensor, key_mask: Tensor | None = None, num_queries: int | None = None
    ) -> Tensor:
        """Encode tokens.

        Args:
            tokens: (B, L, D).
            key_mask: (B, L), True where a token is valid.
            num_queries: encode only the first ones, for when nothing reads the others; None for
                all.

        Returns:
            (B, num_queries, D).
        """
        mixed = self.drop_path(self.attention(self.norm1(tokens), key_mask, num_queries))
        tokens = tokens[:, :num_queries] + mixed
        return tokens + self.drop_path(self.mlp(self.norm2(tokens)))


def run_blocks(
    blocks: nn.ModuleList,
    tokens: Tensor,
    *inputs: object,
    activation_checkpointing: ActivationCheckpointing,
    num_queries: int | None = None,
) -> Tensor:
    """Pass tokens through the blocks, each called with ``(tokens, *inputs, num_queries)``.

    Args:
        activation_checkpointing: what is kept of each block, see :func:`recomputed`.
        num_queries: tokens that the last block need encode; None for all.
    """
    for index, block in enumerate(blocks, start=1):
        count = num_queries if index == len(blocks) else None
        tokens = recomputed(block, tokens, *inputs, count, mode=activation_checkpointing)
    return tokens


class TransformerEncoder(nn.Module):
    """A stack of :class:`EncoderBlock` and a final LayerNorm.

    Args:
        embed_dim: width D of the tokens.
        depth: number of blocks.
        num_heads: attention heads; must divide ``embed_dim``.
        mlp_ratio: hidden width of the MLPs as a multiple of D.
        dropout: on attention weights, after the attention's projection and in the MLPs.
        attention_chunk_size: query rows processed at once; None for all.
        activation_checkpointing: what is kept of each block, see :func:`recomputed`; True also
            recomputes the chunks of attention.
    """

    def __init__(
        self,
        embed_dim: int,
        depth: int,
        num_heads: int,
        *,
        mlp_ratio: float,
        dropout: float,
        attention_chunk_size: int | None,
        activation_checkpointing: ActivationCheckpointing,
    ) -> None:
        super().__init__()
        check_activation_checkpointing(activation_checkpointing)
        self.activation_checkpointing = activation_checkpointing
        new_attention = partial(
            SelfAttention,
            embed_dim,
            num_heads,
            dropout=dropout,
            attention_dropout=dropout,
            chunk_size=attention_chunk_size,
            recompute=activation_checkpointing is True,
        )
        self.blocks = nn.ModuleList(
            EncoderBlock(
                embed_dim, new_attention, mlp_ratio=mlp_ratio, dropout=dropout, drop_path=0.0
            )
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(embed_dim, eps=LAYER_NORM_EPS)

    def forward(self, tokens: Tensor, key_mask: Tensor | None = None) -> Tensor:
        """Encode (B, L, D) tokens; ``key_mask`` (B, L) is True where a token is valid."""
        tokens = run_blocks(
            self.blocks, tokens, key_mask, activation_checkpointing=self.activation_checkpointing
        )
        return self.norm(tokens)
