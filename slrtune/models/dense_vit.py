"""Dense ViT translator: an image network per frame, convolutions over time, a text decoder.

Shapes: B batch, T frames, C channels, H W pixels, F features of a frame, D width over time,
Q tokens of the video, L text length, V vocabulary, G glosses, K landmarks.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slrtune.config.model import (
    DEFAULT_DECODER_DIM,
    ActivationCheckpointing,
    DenseViTSize,
    dense_vit_shape,
)
from slrtune.models.attention import SelfAttention, none_if_all_valid
from slrtune.models.attention_pooling import AttentionPooling, ResidualMlp
from slrtune.models.frame_encoder import frame_encoder
from slrtune.models.positions import positions_at, sinusoidal_positions
from slrtune.models.regions import KeypointHead, RegionAttention
from slrtune.models.registry import register_model
from slrtune.models.temporal_conv import TemporalConvLayer
from slrtune.models.text_decoder import CachedText, TextDecoder
from slrtune.models.transformer import (
    LAYER_NORM_EPS,
    EncoderBlock,
    mean_of_valid_frames,
    xavier_weights,
)
from slrtune.models.translation import DecoderState, TranslationModel, TranslatorOutput, VideoMemory

EMBEDDING_DIM = 128
"""E, as SimCLR's projection (Chen et al. 2020)."""


@register_model("dense_vit")
class DenseViT(TranslationModel):
    """Frames → image network → convolutions over time → tokens → text decoder, and CTC.

    Padded frames never enter the image network.

    Args:
        vocab_size: V.
        num_frames: frames T of a training clip; clips may have any number.
        image_size: H and W in pixels.
        num_glosses: G; 0 = no CTC over glosses.
        has_embedding: the output holds a vector of each clip, for contrastive pretraining.
        num_bag_glosses: G; 0 = no telling which glosses there are.
        num_keypoints: K of each frame; 0 = none.
        size, embed_dim, depth, num_heads, patch_size: see :class:`DenseViTConfig`.
        pretrained, frame_chunk_size, attention_chunk_size, activation_checkpointing,
            freeze_batch_norm, drop_path: see :func:`frame_encoder`.
        hidden_dim: D; None = the image network's features.
        temporal_layers, temporal_kernel_size: convolutions over time.
        use_temporal_attention: a transformer block over the frames after them.
        num_queries: Q; None keeps the frames as tokens.
        temporal_stride: frames per token when ``num_queries`` is None.
        pool_heads: heads of pooling and temporal attention.
        decoder_depth, decoder_dim, decoder_heads: see :class:`TextDecoder`.
        use_ctc_positions: tell the decoder where in the text each token of the video is, by CTC.
        region_attention: landmarks [first, last) of each region that frames are looked at in.
        max_text_length: for training and generation; the model itself takes any length.
        dropout: over time and in the decoder.

    Raises:
        UserError: the image network's weights cannot be had or do not fit.
        ValueError: arguments contradict each other.
    """

    encoder_prefixes: ClassVar[tuple[str, ...]] = ("backbone.network.",)

    def __init__(
        self,
        vocab_size: int,
        num_frames: int,
        image_size: int,
        num_glosses: int = 0,
        has_embedding: bool = False,
        num_bag_glosses: int = 0,
        num_keypoints: int = 0,
        size: DenseViTSize = "large",
        embed_dim: int | None = None,
        depth: int | None = None,
        num_heads: int | None = None,
        patch_size: int | None = None,
        pretrained: bool | str = False,
        hidden_dim: int | None = None,
        temporal_layers: int | None = None,
        temporal_kernel_size: int = 5,
        use_temporal_attention: bool = False,
        num_queries: int | None = 32,
        temporal_stride: int = 1,
        pool_heads: int = 16,
        decoder_depth: int = 4,
        decoder_dim: int | None = None,
        decoder_heads: int = 8,
        use_ctc_positions: bool = False,
        region_attention: Sequence[tuple[int, int]] = (),
        max_text_length: int = 128,
        dropout: float = 0.2,
        drop_path: float = 0.0,
        freeze_batch_norm: bool = False,
        frame_chunk_size: int | None = None,
        attention_chunk_size: int | None = None,
        activation_checkpointing: ActivationCheckpointing = False,
    ) -> None:
        super().__init__()
        shape = dense_vit_shape(size, embed_dim, depth, num_heads, patch_size)
        width = hidden_dim or shape.features
        if width % pool_heads:
            raise ValueError(
                f"hidden_dim must be divisible by pool_heads, but {width} % {pool_heads} "
                f"= {width % pool_heads}"
            )
        self.max_text_length = max_text_length
        self.temporal_stride = temporal_stride
        self.use_ctc_positions = use_ctc_positions
        self.backbone = frame_encoder(
            shape,
            image_size=image_size,
            pretrained=pretrained,
            frame_chunk_size=frame_chunk_size,
            attention_chunk_size=attention_chunk_size,
            activation_checkpointing=activation_checkpointing,
            freeze_batch_norm=freeze_batch_norm,
            drop_path=drop_path,
        )
        self.num_regions = len(region_attention)
        if region_attention:
            self.backbone.regions = RegionAttention(self.backbone.num_features, self.num_regions)
        self.projection = nn.Sequential(
            nn.Linear(self.backbone.num_features, width), nn.LayerNorm(width, eps=LAYER_NORM_EPS)
        )
        self.dropout = nn.Dropout(dropout)
        num_layers = shape.temporal_layers if temporal_layers is None else temporal_layers
        self.temporal_convs = nn.ModuleList(
            TemporalConvLayer(width, temporal_kernel_size, dropout) for _ in range(num_layers)
        )
        self.temporal_attention = None
        if use_temporal_attention:
            new_attention = partial(SelfAttention, width, pool_heads, dropout=dropout)
            self.temporal_attention = EncoderBlock(
                width, new_attention, mlp_ratio=4.0, dropout=dropout, drop_path=0.0
            )
        self.pooling = AttentionPooling(num_queries, width, pool_heads) if num_queries else None
        self.feed_forward = ResidualMlp(width, 4.0, dropout)
        self.refinement = ResidualMlp(width, 1.0, dropout)
        self.norm = nn.LayerNorm(width, eps=LAYER_NORM_EPS)
        self.ctc_head = nn.Linear(width, vocab_size)
        self.gloss_ctc_head = nn.Linear(width, num_glosses + 1) if num_glosses else None
        self.decoder = TextDecoder(
            vocab_size,
            decoder_dim or min(width, DEFAULT_DECODER_DIM),
            decoder_depth,
            decoder_heads,
            width,
            dropout=dropout,
        )
        self.gloss_head = nn.Linear(width, num_bag_glosses) if num_bag_glosses else None
        self.keypoint_head = None
        if num_keypoints:
            self.keypoint_head = KeypointHead(self.backbone.num_features, num_keypoints)
        self.embedding_head = nn.Linear(width, EMBEDDING_DIM) if has_embedding else None
        for module in (
            self.projection, self.ctc_head, self.gloss_ctc_head, self.gloss_head,
            self.embedding_head,
        ):  # fmt: skip
            if module is not None:
                module.apply(xavier_weights)

    def no_weight_decay_names(self) -> set[str]:
        spared = {"pooling.queries", "decoder.embedding.weight"}
        spared |= {f"backbone.network.{name}" for name in ("pos_embed", "cls_token")}
        return spared & dict(self.named_parameters()).keys()

    def layer_depths(self) -> dict[str, int]:
        backbone = {f"backbone.network.{k}": v for k, v in self.backbone.layer_depths().items()}
        top = max(backbone.values()) + 1
        return {name: backbone.get(name, top) for name, _ in self.named_parameters()}

    def forward(  # type: ignore[override]
        self, frames: Tensor, frame_mask: Tensor | None, tokens: Tensor
    ) -> TranslatorOutput:
        features, regions = self._of_frames(frames, frame_mask)
        memory = self.encode_features(features, frame_mask)
        token_logits = self.decoder(tokens, memory.tokens, memory.mask)
        extras: dict[str, Tensor] = {}
        whole = mean_of_valid_frames(memory.tokens, memory.mask)
        if self.gloss_head is not None:
            extras["gloss"] = self.gloss_head(whole)
        if self.keypoint_head is not None:
            extras["keypoints"] = self.keypoint_head(features)
        if self.num_regions:
            extras["regions"] = regions.unflatten(2, (self.num_regions, -1))
        if self.embedding_head is not None:
            extras["embedding"] = F.normalize(self.embedding_head(whole), dim=1)
        return TranslatorOutput(memory, token_logits, extras)

    def encode(self, frames: Tensor, frame_mask: Tensor | None = None) -> VideoMemory:
        return self.encode_features(self._of_frames(frames, frame_mask)[0], frame_mask)

    def encode_features(self, features: Tensor, frame_mask: Tensor | None = None) -> VideoMemory:
        """As :meth:`encode`, of features (B, T, F) of the frames."""
        mask = none_if_all_valid(frame_mask)
        tokens = self._over_time(features, mask)
        if self.pooling is not None:
            tokens, mask = self.pooling(tokens, mask), None
        elif self.temporal_stride > 1:
            tokens, mask = merge_frames(tokens, mask, self.temporal_stride)
        tokens = self.norm(self.refinement(self.feed_forward(tokens)))
        glosses = None if self.gloss_ctc_head is None else self.gloss_ctc_head(tokens)
        ctc_logits = self.ctc_head(tokens)
        if self.use_ctc_positions:
            places = places_in_text(ctc_logits.detach())
            tokens = tokens + positions_at(places, tokens.shape[2]).to(tokens.dtype)
        return VideoMemory(tokens, mask, ctc_logits, glosses)

    def start(self, memory: VideoMemory) -> CachedText:
        return self.decoder.start(memory.tokens, memory.mask)

    def step(self, tokens: Tensor, state: DecoderState) -> tuple[Tensor, CachedText]:
        assert isinstance(state, CachedText)  # from start() or step()
        return self.decoder.step(tokens, state)

    def _of_frames(self, frames: Tensor, frame_mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Features (B, T, F) of the frames, and scores (B, T, R * P) of regions and patches."""
        found = self.backbone.of_clips(frames, frame_mask)
        width = self.backbone.num_features
        return found[..., :width], found[..., width:]

    def _over_time(self, features: Tensor, mask: Tensor | None) -> Tensor:
        """(B, T, F) features to (B, T, D) tokens that know their neighbours."""
        tokens = self.projection(features)
        positions = sinusoidal_positions(tokens.shape[1], tokens.shape[2], tokens.device)
        tokens = self.dropout(tokens + positions.to(tokens.dtype))
        for convolution in self.temporal_convs:
            tokens = convolution(tokens, mask)
        if self.temporal_attention is not None:
            tokens = self.temporal_attention(tokens, mask)
        return tokens


def places_in_text(ctc_logits: Tensor) -> Tensor:
    """Float32 (B, Q): how many tokens of the text CTC expects to have begun up to each moment.

    A token begins where it becomes likely, and goes on while it stays so.

    Args:
        ctc_logits: (B, Q, V), blank 0.
    """
    said = ctc_logits.float().softmax(dim=-1)[..., 1:]
    before = F.pad(said, (0, 0, 1, 0))[:, :-1]
    return (said * (1.0 - before)).sum(dim=-1).cumsum(dim=1)


def merge_frames(
    tokens: Tensor, frame_mask: Tensor | None, stride: int
) -> tuple[Tensor, Tensor | None]:
    """Average each ``stride`` neighbouring frames.

    Args:
        tokens: (B, T, D).
        frame_mask: (B, T), True where a frame is valid; None for all.
        stride: frames per token; the last ones may be fewer.

    Returns:
        (B, ceil(T / stride), D), and the mask of these tokens: valid if any of their frames is.
    """
    missing = -tokens.shape[1] % stride
    if frame_mask is None and not missing:
        return tokens.unflatten(1, (-1, stride)).mean(dim=2), None
    valid = tokens.new_ones(tokens.shape[:2], dtype=torch.bool)
    valid = F.pad(valid if frame_mask is None else frame_mask, (0, missing))
    groups = F.pad(tokens, (0, 0, 0, missing)).unflatten(1, (-1, stride))
    group_mask = valid.unflatten(1, (-1, stride))
    merged = mean_of_valid_frames(groups.flatten(0, 1), group_mask.flatten(0, 1))
    mask = None if frame_mask is None else group_mask.any(dim=2)
    return merged.unflatten(0, groups.shape[:2]), mask
