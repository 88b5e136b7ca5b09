"""TimeSformer (Bertasius et al. 2021, arXiv 2102.05095): attention over space and time.

Parameters have the shapes and meaning of Hugging Face's ``TimesformerForVideoClassification``, so
that its weights can be loaded (``timesformer_weights.py``).

Shapes: B batch, T frames, C channels, H W pixels, N patches of a frame, D width, G glosses.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ClassVar, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slrtune.config.model import ActivationCheckpointing
from slrtune.models.attention import SelfAttention, none_if_all_valid
from slrtune.models.positions import (
    learned_tokens,
    resize_patch_positions,
    resize_time_positions,
)
from slrtune.models.recompute import check_activation_checkpointing
from slrtune.models.registry import VideoModel, register_model
from slrtune.models.timesformer_weights import load_timesformer_weights
from slrtune.models.transformer import (
    LAYER_NORM_EPS,
    EncoderBlock,
    init_weights,
    mean_of_valid_frames,
    run_blocks,
)

AttentionType = Literal["divided_space_time", "joint_space_time", "space_only"]


class DividedSpaceTimeBlock(EncoderBlock):
    """Temporal attention, then spatial attention, then MLP (figure 2, right, of the paper).

    ``norm1`` and ``attention`` of the parent are the spatial ones.

    Args:
        embed_dim, new_attention, mlp_ratio, dropout, drop_path: as in :class:`EncoderBlock`.
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
        super().__init__(
            embed_dim, new_attention, mlp_ratio=mlp_ratio, dropout=dropout, drop_path=drop_path
        )
        self.temporal_norm = nn.LayerNorm(embed_dim, eps=LAYER_NORM_EPS)
        self.temporal_attention = new_attention()
        self.temporal_fc = nn.Linear(embed_dim, embed_dim)
        self.temporal_attention.apply(init_weights)
        init_weights(self.temporal_fc)

    def forward(
        self, tokens: Tensor, frame_mask: Tensor | None = None, num_queries: int | None = None
    ) -> Tensor:
        """Encode tokens.

        Args:
            tokens: (B, T, 1 + N, D): in each frame a copy of the class token, then its patches.
            frame_mask: (B, T), True where a frame is valid.
            num_queries: encode only the first tokens of each frame, for when nothing reads the
                others; None for all.

        Returns:
            (B, T, num_queries, D); the copies of the class token are equal again.
        """
        tokens = self._add_time(tokens, frame_mask)
        mixed = self.attention(self.norm1(tokens.flatten(0, 1)), None, num_queries)
        tokens = tokens[:, :, :num_queries] + self.drop_path(mixed).unflatten(0, tokens.shape[:2])
        tokens[:, :, 0] = mean_of_valid_frames(tokens[:, :, 0], frame_mask)[:, None]
        residual = self.drop_path(self.mlp(self.norm2(tokens).flatten(1, 2))).view_as(tokens)
        if self.training and self.mlp.dropout.p > 0:
            # Dropout fell differently on each copy.
            residual[:, :, 0] = residual[:, :1, 0].clone()
        return tokens + residual

    def _add_time(self, tokens: Tensor, frame_mask: Tensor | None) -> Tensor:
        """Add the attention between frames at each patch; the class token has none."""
        mixed = self.temporal_attention.mix_over_time(self.temporal_norm(tokens), frame_mask)
        added = tokens + self._project_time(mixed)
        added[:, :, 0] = tokens[:, :, 0]
        return added

    def _project_time(self, mixed: Tensor) -> Tensor:
        """The attention's output projection and ``temporal_fc``, with dropout between them."""
        project, fc = self.temporal_attention.proj, self.temporal_fc
        if self.training and self.temporal_attention.dropout.p > 0:
            return fc(self._drop_places(self.temporal_attention.dropout(project(mixed))))
        # Two linear layers with nothing between them are one, at half the work and memory.
        weight = fc.weight @ project.weight
        if self.training and self.drop_path.drop_prob > 0:
            bias = F.linear(project.bias, fc.weight)
            return self._drop_places(F.linear(mixed, weight, bias)) + fc.bias
        return F.linear(mixed, weight, F.linear(project.bias, fc.weight, fc.bias))

    def _drop_places(self, residual: Tensor) -> Tensor:
        """Stochastic depth of each place's sequence of frames, (B, T, 1 + N, D) to the same."""
        if not self.training or self.drop_path.drop_prob == 0:
            return residual
        keep_probability = 1.0 - self.drop_path.drop_prob
        kept = residual.new_empty(residual.shape[0], 1, residual.shape[2], 1)
        return residual * kept.bernoulli_(keep_probability).div_(keep_probability)


@register_model("timesformer")
class TimeSformer(VideoModel):
    """Vision transformer over the patches of all frames, with a class token.

    Args:
        num_classes: glosses G.
        num_frames: frames T of a training clip. Positions are interpolated for another T, so pad
            shorter clips to ``num_frames`` if their frames should keep their positions.
        image_size: H and W in pixels; must be divisible by ``patch_size``.
        patch_size: height and width of a patch in pixels.
        embed_dim: width D.
        depth: blocks.
        num_heads: attention heads; must divide ``embed_dim``.
        mlp_ratio: hidden width of the MLPs as a multiple of ``embed_dim``.
        qkv_bias: whether the query, key and value projections have a bias.
        dropout: on embeddings, after the attention's projection and in the MLPs.
        attention_dropout: on attention weights.
        drop_path: stochastic depth of the last block; rises linearly from 0 at the first.
        attention_type: ``divided_space_time`` (time, then space), ``joint_space_time`` (all
            patches of all frames at once) or ``space_only`` (frames are averaged at the end).
        attention_chunk_size: query rows processed at once; None for all.
        activation_checkpointing: what backward computes again of each block, see
            :func:`recomputed`.
        pretrained: published weights: a folder or file, a name, True for the Kinetics-400 base
            model, or False; see :func:`load_timesformer_weights`.

    Raises:
        UserError: the weights cannot be had or do not fit.
        ValueError: arguments contradict each other.
    """

    encoder_prefixes: ClassVar[tuple[str, ...]] = (
        "patch_embed.",
        "class_token",
        "position_embedding",
        "time_embedding",
        "blocks.",
        "norm.",
    )

    def __init__(
        self,
        num_classes: int,
        num_frames: int,
        image_size: int,
        patch_size: int = 16,
        embed_dim: int = 768,
        depth: int = 12,
        num_heads: int = 12,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        drop_path: float = 0.1,
        attention_type: AttentionType = "divided_space_time",
        attention_chunk_size: int | None = None,
        activation_checkpointing: ActivationCheckpointing = False,
        pretrained: bool | str = False,
    ) -> None:
        super().__init__()
        if attention_type not in get_args(AttentionType):
            raise ValueError(
                f"attention_type must be one of {get_args(AttentionType)}, but is "
                f"{attention_type!r}"
            )
        check_divisible(image_size, patch_size)
        check_activation_checkpointing(activation_checkpointing)
        self.attention_type = attention_type
        self.activation_checkpointing = activation_checkpointing
        self.patch_embed = nn.Conv2d(3, embed_dim, kernel_size=patch_size, stride=patch_size)
        init_weights(self.patch_embed)
        self.class_token = learned_tokens(1, embed_dim)
        self.position_embedding = learned_tokens(1 + (image_size // patch_size) ** 2, embed_dim)
        self.time_embedding = None
        if attention_type != "space_only":
            self.time_embedding = nn.Parameter(torch.zeros(1, num_frames, embed_dim))
        self.dropout = nn.Dropout(dropout)
        new_attention = partial(
            SelfAttention,
            embed_dim,
            num_heads,
            qkv_bias=qkv_bias,
            dropout=dropout,
            attention_dropout=attention_dropout,
            chunk_size=attention_chunk_size,
            recompute=activation_checkpointing is True,
        )
        block_class = EncoderBlock
        if attention_type == "divided_space_time":
            block_class = DividedSpaceTimeBlock
        blocks = [
            block_class(
                embed_dim,
                new_attention,
                mlp_ratio=mlp_ratio,
                dropout=dropout,
                drop_path=drop_path * index / max(depth - 1, 1),
            )
            for index in range(depth)
        ]
        for block in blocks[1:]:
            if isinstance(block, DividedSpaceTimeBlock):
                # As the authors' code: every block but the first starts as if it had no time.
                nn.init.zeros_(block.temporal_fc.weight)
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(embed_dim, eps=LAYER_NORM_EPS)
        self.head = nn.Linear(embed_dim, num_classes)
        init_weights(self.head)
        if pretrained:
            load_timesformer_weights(self, pretrained)

    def no_weight_decay_names(self) -> set[str]:
        names = {"class_token", "position_embedding", "time_embedding"}
        return names & dict(self.named_parameters()).keys()

    def layer_depths(self) -> dict[str, int]:
        embedding = ("patch_embed.", "class_token", "position_embedding", "time_embedding")

        def depth(name: str) -> int:
            if name.startswith(embedding):
                return 0
            return int(name.split(".")[1]) + 1 if name.startswith("blocks.") else top

        top = len(self.blocks) + 1
        return {name: depth(name) for name, _ in self.named_parameters()}

    def forward(self, frames: Tensor, frame_mask: Tensor | None = None) -> Tensor:
        mask = none_if_all_valid(frame_mask)
        if mask is not None:
            # A masked key still enters as 0 * value, which NaN survives.
            frames = frames.masked_fill(~mask[..., None, None, None], 0.0)
        class_token, patches = self._embed(frames)
        return self.head(self.norm(self._encode(class_token, patches, mask)))

    def _embed(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, C, H, W) frames to the class token (B, 1, D) and patches (B, T, N, D)."""
        batch, num_frames = frames.shape[:2]
        for size in frames.shape[-2:]:
            check_divisible(size, self.patch_embed.kernel_size[0])
        patches = self.patch_embed(frames.flatten(0, 1))
        positions = resize_patch_positions(self.position_embedding, *patches.shape[-2:])
        patch_positions = positions[:, None, 1:]
        if self.time_embedding is not None:
            time_positions = resize_time_positions(self.time_embedding, num_frames)
            patch_positions = patch_positions + time_positions[:, :, None]
        patches = patches.flatten(2).transpose(1, 2).unflatten(0, (batch, num_frames))
        class_token = (self.class_token + positions[:, :1]).expand(batch, -1, -1)
        return self.dropout(class_token), self.dropout(patches + patch_positions)

    def _encode(self, class_token: Tensor, patches: Tensor, mask: Tensor | None) -> Tensor:
        """The encoded class token (B, D), from (B, 1, D) and patches (B, T, N, D)."""
        batch, num_frames, num_patches = patches.shape[:3]
        # Nothing reads what the last block makes of the patches, so it makes the class token only.
        run = partial(
            run_blocks,
            self.blocks,
            activation_checkpointing=self.activation_checkpointing,
            num_queries=1,
        )
        if self.attention_type == "joint_space_time":
            key_mask = None
            if mask is not None:
                key_mask = F.pad(mask.repeat_interleave(num_patches, dim=1), (1, 0), value=True)
            return run(torch.cat((class_token, patches.flatten(1, 2)), dim=1), key_mask)[:, 0]
        copies = class_token[:, None].expand(-1, num_frames, -1, -1)
        tokens = torch.cat((copies, patches), dim=2)
        if self.attention_type == "divided_space_time":
            return run(tokens, mask)[:, 0, 0]
        encoded = run(tokens.flatten(0, 1), None).view(batch, num_frames, -1)
        return mean_of_valid_frames(encoded, mask)


def check_divisible(image_size: int, patch_size: int) -> None:
    """Raise ValueError unless ``image_size`` is a multiple of ``patch_size``."""
    if image_size % patch_size:
        raise ValueError(
            f"image_size must be divisible by patch_size, but {image_size} % {patch_size} "
            f"= {image_size % patch_size}"
        )
