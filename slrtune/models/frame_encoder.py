"""The image network of a translator: a ViT of any shape in timm's layout, or a light CNN.

Shapes: N frames, L patches and class token of a frame, D width.
"""

from __future__ import annotations

from typing import Any

import timm
from timm.layers import Attention
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from slrtune.config.errors import UserError
from slrtune.config.model import ActivationCheckpointing, ViTShape
from slrtune.models.attention import attention
from slrtune.models.backbone import FrameBackbone
from slrtune.models.recompute import check_activation_checkpointing, recomputed
from slrtune.models.vit_weights import timm_name


class ChunkedAttention(Attention):
    """timm's self-attention, query rows in chunks; its parameters, and results, are the same."""

    chunk_size: int | None = None
    recompute = False

    def forward(self, x: Tensor, attn_mask: None = None, is_causal: bool = False) -> Tensor:
        """Mix (N, L, D) tokens."""
        split = self.qkv(x).unflatten(2, (3, self.num_heads, -1))
        query, key, value = split.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = attention(query, key, value, chunk_size=self.chunk_size, recompute=self.recompute)
        return self.proj_drop(self.proj(mixed.transpose(1, 2).flatten(2)))


class RecomputedBlock(Block):
    """timm's transformer block, computed again by backward as ``activation_checkpointing`` says."""

    activation_checkpointing: ActivationCheckpointing = False

    def forward(self, x: Tensor, attn_mask: None = None, is_causal: bool = False) -> Tensor:
        """Encode (N, L, D) tokens."""
        return recomputed(super().forward, x, mode=self.activation_checkpointing)


def frame_encoder(
    shape: ViTShape,
    *,
    image_size: int,
    pretrained: bool | str,
    frame_chunk_size: int | None,
    attention_chunk_size: int | None,
    activation_checkpointing: ActivationCheckpointing,
    freeze_batch_norm: bool,
    drop_path: float,
) -> FrameBackbone:
    """Build the network that turns frames into vectors of ``shape.features``.

    Args:
        shape: of the network.
        pretrained: as in :class:`FrameBackbone`, or the name of published weights.
        attention_chunk_size: query rows processed at once; None for all.
        image_size, frame_chunk_size, freeze_batch_norm, drop_path: see :class:`FrameBackbone`.
        activation_checkpointing: by chunks of frames where there are some, else by blocks, which
            keeps a vector per patch and block but is better where memory for that is at hand.

    Raises:
        UserError: the weights cannot be had, or are of another shape.
        ValueError: arguments contradict each other.
    """
    check_activation_checkpointing(activation_checkpointing)
    name, options = shape.backbone, _vit_options(shape)
    published = timm_name(pretrained) if isinstance(pretrained, str) else None
    if published is not None:
        _check_same_shape(published, shape)
        name, pretrained = published, True
    backbone = FrameBackbone(
        name,
        image_size=image_size,
        pretrained=pretrained,
        frame_chunk_size=frame_chunk_size,
        activation_checkpointing=activation_checkpointing,
        freeze_batch_norm=freeze_batch_norm,
        drop_path=drop_path,
        options=options,
    )
    if not options:
        return _without_classifier_layer(backbone)
    for module in backbone.network.modules():
        if isinstance(module, ChunkedAttention):
            module.chunk_size = attention_chunk_size
            module.recompute = activation_checkpointing is True
        if isinstance(module, RecomputedBlock) and frame_chunk_size is None:
            module.activation_checkpointing = activation_checkpointing
    return backbone


def _vit_options(shape: ViTShape) -> dict[str, Any]:
    """What timm must be told of a ViT; nothing for a CNN."""
    if shape.depth is None or shape.num_heads is None:
        return {}
    if shape.features % shape.num_heads:
        raise ValueError(
            f"embed_dim must be divisible by num_heads, but {shape.features} % {shape.num_heads} "
            f"= {shape.features % shape.num_heads}"
        )
    return {
        "embed_dim": shape.features,
        "depth": shape.depth,
        "num_heads": shape.num_heads,
        "patch_size": shape.patch_size,
        "attn_layer": ChunkedAttention,
        "block_fn": RecomputedBlock,
    }


def _check_same_shape(published: str, shape: ViTShape) -> None:
    wanted = shape.backbone.removesuffix("_224")
    if not published.startswith(wanted) or not timm.is_model(published.partition(".")[0]):
        raise UserError(
            f"pretrained: {published} is not of the shape of {shape.backbone}, which size says; "
            "change either"
        )


def _without_classifier_layer(backbone: FrameBackbone) -> FrameBackbone:
    """MobileNetV3 without the layer between its pooled features and the published classifier."""
    network = backbone.network
    network.conv_head, network.act2 = nn.Identity(), nn.Identity()
    backbone.num_features = network.num_features
    return backbone
