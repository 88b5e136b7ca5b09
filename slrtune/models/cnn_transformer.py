"""CNN-Transformer: an image network per frame, a transformer encoder over the frames.

The layout of Camgöz et al. 2020 (Sign Language Transformers, arXiv 2003.13830) with a pooled
classifier for isolated signs.

Shapes: B batch, T frames, C channels, H W pixels, F features of a frame, D width, G glosses.
"""

from __future__ import annotations

from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from slrtune.config.model import ActivationCheckpointing
from slrtune.models.attention import none_if_all_valid
from slrtune.models.backbone import FrameBackbone
from slrtune.models.positions import (
    learned_tokens,
    resize_time_positions,
    sinusoidal_positions,
)
from slrtune.models.registry import FrameFeatureModel, register_model
from slrtune.models.temporal_conv import TemporalConvLayer
from slrtune.models.transformer import (
    LAYER_NORM_EPS,
    TransformerEncoder,
    init_weights,
    mean_of_valid_frames,
)

Position = Literal["learned", "sinusoidal"]
Pooling = Literal["mean", "class_token", "attention"]


@register_model("cnn_transformer")
class CNNTransformer(FrameFeatureModel):
    """Frame features → projection → (convolutions →) positions → encoder → pooling → classifier.

    Args:
        num_classes: glosses G.
        num_frames: frames T of a training clip. Positions are interpolated for another T, so pad
            shorter clips to ``num_frames`` if their frames should keep their positions.
        image_size: H and W in pixels.
        backbone, pretrained, frame_chunk_size, freeze_batch_norm: see :class:`FrameBackbone`.
        embed_dim: width D of the encoder.
        depth: encoder blocks.
        num_heads: attention heads; must divide ``embed_dim``.
        mlp_ratio: hidden width of the MLPs as a multiple of ``embed_dim``.
        dropout: on positions, attention weights and both branches of every block.
        attention_chunk_size: query rows processed at once; None for all.
        activation_checkpointing: what backward computes again of each encoder block and each chunk
            of frames, see :func:`recomputed`.
        backbone_drop_path: stochastic depth of the backbone's last block, where it has that.
        position: ``learned`` or ``sinusoidal`` (Vaswani et al. 2017, section 3.5) positions.
        pooling: ``mean`` over frames, a ``class_token`` before them, or an average weighted by
            learned ``attention``.
        temporal_conv_layers: depthwise-separable convolutions over time before the encoder.
        temporal_conv_kernel_size: frames that each of them sees; odd.

    Raises:
        UserError: backbone unknown, or its weights cannot be loaded.
        ValueError: arguments contradict each other.
    """

    encoder_prefixes: ClassVar[tuple[str, ...]] = ("backbone.",)

    def __init__(
        self,
        num_classes: int,
        num_frames: int,
        image_size: int,
        backbone: str = "resnet50",
        pretrained: bool | str = True,
        embed_dim: int = 512,
        depth: int = 6,
        num_heads: int = 8,
        mlp_ratio: float = 4.0,
        dropout: float = 0.1,
        attention_chunk_size: int | None = 128,
        frame_chunk_size: int | None = None,
        activation_checkpointing: ActivationCheckpointing = False,
        freeze_batch_norm: bool = False,
        position: Position = "learned",
        pooling: Pooling = "mean",
        temporal_conv_layers: int = 0,
        temporal_conv_kernel_size: int = 5,
        backbone_drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        if position not in get_args(Position):
            raise ValueError(f"position must be one of {get_args(Position)}, but is {position!r}")
        if pooling not in get_args(Pooling):
            raise ValueError(f"pooling must be one of {get_args(Pooling)}, but is {pooling!r}")
        if position == "sinusoidal" and embed_dim % 2:
            raise ValueError(f"sinusoidal positions need an even embed_dim, but it is {embed_dim}")
        self.encoder = TransformerEncoder(
            embed_dim,
            depth,
            num_heads,
            mlp_ratio=mlp_ratio,
            dropout=dropout,
            attention_chunk_size=attention_chunk_size,
            activation_checkpointing=activation_checkpointing,
        )
        self.backbone = FrameBackbone(
            backbone,
            image_size=image_size,
            pretrained=pretrained,
            frame_chunk_size=frame_chunk_size,
            activation_checkpointing=activation_checkpointing,
            freeze_batch_norm=freeze_batch_norm,
            drop_path=backbone_drop_path,
        )
        self.projection = nn.Sequential(
            nn.Linear(self.backbone.num_features, embed_dim),
            nn.LayerNorm(embed_dim, eps=LAYER_NORM_EPS),
        )
        self.temporal_convs = nn.ModuleList(
            TemporalConvLayer(embed_dim, temporal_conv_kernel_size, dropout)
            for _ in range(temporal_conv_layers)
        )
        learned = position == "learned"
        self.position_embedding = learned_tokens(num_frames, embed_dim) if learned else None
        self.class_token = learned_tokens(1, embed_dim) if pooling == "class_token" else None
        self.frame_score = nn.Linear(embed_dim, 1) if pooling == "attention" else None
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(embed_dim, num_classes)
        for module in (self.projection, self.frame_score, self.head):
            if module is not None:
                module.apply(init_weights)

    def no_weight_decay_names(self) -> set[str]:
        return {"position_embedding", "class_token"} & dict(self.named_parameters()).keys()

    def layer_depths(self) -> dict[str, int]:
        backbone = {f"backbone.network.{k}": v for k, v in self.backbone.layer_depths().items()}
        top = max(backbone.values()) + 1
        return {name: backbone.get(name, top) for name, _ in self.named_parameters()}

    def frame_features(self, frames: Tensor, frame_mask: Tensor | None = None) -> Tensor:
        return self.backbone.of_clips(frames, frame_mask)

    def classify_features(self, features: Tensor, frame_mask: Tensor | None = None) -> Tensor:
        mask = none_if_all_valid(frame_mask)
        tokens = self.projection(features)
        for convolution in self.temporal_convs:
            tokens = convolution(tokens, mask)
        tokens = self.dropout(tokens + self._positions(tokens))
        if self.class_token is not None:
            tokens, mask = self._prepend_class_token(self.class_token, tokens, mask)
        return self.head(self._pool(self.encoder(tokens, mask), mask))

    def _positions(self, tokens: Tensor) -> Tensor:
        """Positions for (B, T, D) tokens."""
        num_frames, embed_dim = tokens.shape[1:]
        if self.position_embedding is None:
            return sinusoidal_positions(num_frames, embed_dim, tokens.device).to(tokens.dtype)
        return resize_time_positions(self.position_embedding, num_frames)

    @staticmethod
    def _prepend_class_token(
        class_token: Tensor, tokens: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        tokens = torch.cat((class_token.expand(len(tokens), -1, -1), tokens), dim=1)
        return tokens, None if mask is None else nn.functional.pad(mask, (1, 0), value=True)

    def _pool(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        """(B, T, D) tokens to (B, D), without those that ``mask`` (B, T) marks as padding."""
        if self.class_token is not None:
            return tokens[:, 0]
        if self.frame_score is not None:
            scores = self.frame_score(tokens)
            if mask is not None:
                # Not -inf: a clip of nothing but padding must not become NaN.
                scores = scores.masked_fill(~mask[..., None], torch.finfo(scores.dtype).min)
            return (scores.softmax(dim=1) * tokens).sum(dim=1)
        return mean_of_valid_frames(tokens, mask)
