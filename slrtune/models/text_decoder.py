"""Transformer decoder of text (Vaswani et al. 2017), pre-norm, with a cache for generation.

Shapes: B batch, L text length, Q tokens of the video, M their width, D width, H heads,
V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slrtune.models.attention import attention
from slrtune.models.positions import sinusoidal_positions
from slrtune.models.transformer import LAYER_NORM_EPS, Mlp, xavier_weights

KeysAndValues = tuple[Tensor, Tensor]  # (B, H, length, D / H) each


class DecoderAttention(nn.Module):
    """Multi-head attention whose keys and values can be kept between calls.

    Args:
        embed_dim: width D of queries and results.
        num_heads: heads H; must divide ``embed_dim``.
        source_dim: width of what keys and values are made of.

    Raises:
        ValueError: ``embed_dim`` is not divisible by ``num_heads``.
    """

    def __init__(self, embed_dim: int, num_heads: int, source_dim: int) -> None:
        super().__init__()
        if embed_dim % num_heads:
            raise ValueError(
                f"decoder_dim must be divisible by decoder_heads, but {embed_dim} % {num_heads} "
                f"= {embed_dim % num_heads}"
            )
        self.num_heads = num_heads
        self.query = nn.Linear(embed_dim, embed_dim)
        self.key_value = nn.Linear(source_dim, 2 * embed_dim)
        self.proj = nn.Linear(embed_dim, embed_dim)

    def keys_and_values(self, source: Tensor) -> KeysAndValues:
        """Of (B, length, source_dim)."""
        split = self.key_value(source).unflatten(2, (2, self.num_heads, -1))
        key, value = split.permute(2, 0, 3, 1, 4).unbind(0)
        return key, value

    def forward(
        self,
        tokens: Tensor,
        keys_and_values: KeysAndValues,
        key_mask: Tensor | None = None,
        *,
        is_causal: bool = False,
    ) -> Tensor:
        """Gather for (B, L, D) tokens.

        Args:
            key_mask: (B, length), True where a key is real; None for all.
            is_causal: token l sees the keys up to l alone.
        """
        query = self.query(tokens).unflatten(2, (self.num_heads, -1)).transpose(1, 2)
        key, value = keys_and_values
        if is_causal:
            mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        else:
            mixed = attention(query, key, value, key_mask)
        return self.proj(mixed.transpose(1, 2).flatten(2))


class DecoderBlock(nn.Module):
    """Pre-norm: + self-attention, + attention to the video, + MLP.

    Args:
        embed_dim: width D.
        num_heads: attention heads; must divide ``embed_dim``.
        memory_dim: width M of the video's tokens.
        mlp_ratio: hidden width of the MLP as a multiple of D.
        dropout: on each of the three, and within the MLP.
    """

    def __init__(
        self, embed_dim: int, num_heads: int, memory_dim: int, *, mlp_ratio: float, dropout: float
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(embed_dim, eps=LAYER_NORM_EPS)
        self.self_attention = DecoderAttention(embed_dim, num_heads, embed_dim)
        self.norm2 = nn.LayerNorm(embed_dim, eps=LAYER_NORM_EPS)
        self.cross_attention = DecoderAttention(embed_dim, num_heads, memory_dim)
        self.norm3 = nn.LayerNorm(embed_dim, eps=LAYER_NORM_EPS)
        self.mlp = Mlp(embed_dim, int(embed_dim * mlp_ratio), dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        tokens: Tensor,
        memory: KeysAndValues,
        memory_mask: Tensor | None,
        past: KeysAndValues | None = None,
    ) -> tuple[Tensor, KeysAndValues]:
        """Decode (B, L, D) tokens.

        Args:
            memory: keys and values of the video.
            memory_mask: (B, Q), True where a token of the video is real.
            past: keys and values of the text before a single new token; None: the tokens are the
                text from its beginning.

        Returns:
            (B, L, D), and keys and values of the text so far.
        """
        normed = self.norm1(tokens)
        so_far = self.self_attention.keys_and_values(normed)
        if past is not None:
            key, value = (torch.cat(pair, dim=2) for pair in zip(past, so_far, strict=True))
            so_far = (key, value)
        mixed = self.self_attention(normed, so_far, is_causal=past is None)
        tokens = tokens + self.dropout(mixed)
        seen = self.cross_attention(self.norm2(tokens), memory, memory_mask)
        tokens = tokens + self.dropout(seen)
        return tokens + self.mlp(self.norm3(tokens)), so_far


@dataclass(frozen=True)
class CachedText:
    """A ``DecoderState``: keys and values of the video and of the texts so far.

    Attributes:
        memory: of the video, per block.
        memory_mask: (B, Q), True where a token of the video is real; None for all.
        past: of the texts, per block; empty before the first token.
        length: tokens read so far.
    """

    memory: tuple[KeysAndValues, ...]
    memory_mask: Tensor | None
    past: tuple[KeysAndValues, ...] = ()
    length: int = 0

    def select(self, index: Tensor) -> CachedText:
        """The state of rows ``index`` (B',)."""

        def rows(pairs: tuple[KeysAndValues, ...]) -> tuple[KeysAndValues, ...]:
            return tuple((key[index], value[index]) for key, value in pairs)

        mask = None if self.memory_mask is None else self.memory_mask[index]
        return CachedText(rows(self.memory), mask, rows(self.past), self.length)


class TextDecoder(nn.Module):
    """Predicts the next token of a text about a video; input and output embeddings are one.

    Positions are sinusoidal, so a text may be of any length.

    Args:
        vocab_size: V.
        embed_dim: width D; even.
        depth: blocks.
        num_heads: attention heads; must divide ``embed_dim``.
        memory_dim: width M of the video's tokens.
        dropout: on embeddings and in the blocks.
        mlp_ratio: hidden width of the MLPs as a multiple of D.

    Raises:
        ValueError: ``embed_dim`` is odd or not divisible by ``num_heads``.
    """

    def __init__(
        self,
        vocab_size: int,
        embed_dim: int,
        depth: int,
        num_heads: int,
        memory_dim: int,
        *,
        dropout: float,
        mlp_ratio: float = 4.0,
    ) -> None:
        super().__init__()
        if embed_dim % 2:
            raise ValueError(f"decoder_dim must be even, but is {embed_dim}")
        self.embedding = nn.Embedding(vocab_size, embed_dim)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(
            DecoderBlock(embed_dim, num_heads, memory_dim, mlp_ratio=mlp_ratio, dropout=dropout)
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(embed_dim, eps=LAYER_NORM_EPS)
        self.apply(xavier_weights)
        # after the last norm a vector is about sqrt(D) long: logits then start near unit variance
        nn.init.normal_(self.embedding.weight, std=embed_dim**-0.5)

    def forward(self, tokens: Tensor, memory: Tensor, memory_mask: Tensor | None) -> Tensor:
        """Logits at every place of a text that is known.

        Args:
            tokens: int64 (B, L).
            memory: (B, Q, M).
            memory_mask: (B, Q), True where a token of the video is real; None for all.

        Returns:
            (B, L, V).
        """
        states = self._embed(tokens, start=0)
        for block, of_video in zip(self.blocks, self._of_video(memory), strict=True):
            states, _ = block(states, of_video, memory_mask)
        return self._logits(states)

    def start(self, memory: Tensor, memory_mask: Tensor | None) -> CachedText:
        """The state before the first token; arguments as in :meth:`forward`."""
        return CachedText(tuple(self._of_video(memory)), memory_mask)

    def step(self, tokens: Tensor, state: CachedText) -> tuple[Tensor, CachedText]:
        """Logits (B, V) after one more token (B,) per text, and the new state."""
        states = self._embed(tokens[:, None], start=state.length)
        past = []
        for index, block in enumerate(self.blocks):
            before = state.past[index] if state.past else None
            states, so_far = block(states, state.memory[index], state.memory_mask, before)
            past.append(so_far)
        after = CachedText(state.memory, state.memory_mask, tuple(past), state.length + 1)
        return self._logits(states)[:, 0], after

    def _of_video(self, memory: Tensor) -> Iterator[KeysAndValues]:
        """Keys and values of the video for each block, made when they are asked for."""
        for block in self.blocks:
            assert isinstance(block, DecoderBlock)
            yield block.cross_attention.keys_and_values(memory)

    def _embed(self, tokens: Tensor, start: int) -> Tensor:
        embed_dim = self.embedding.embedding_dim
        vectors = self.embedding(tokens) * embed_dim**0.5
        end = start + tokens.shape[1]
        positions = sinusoidal_positions(end, embed_dim, tokens.device)[start:]
        return self.dropout(vectors + positions.to(vectors.dtype))

    def _logits(self, states: Tensor) -> Tensor:
        return F.linear(self.norm(states), self.embedding.weight)
