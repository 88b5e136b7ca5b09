"""What users have today, with the weights of our models: the other side of `benchmarks.models`.

Shapes: B batch, T frames, C channels, H W pixels, D width, G glosses, L sequence length.
"""

from __future__ import annotations

import tempfile
from typing import Any

import timm
import torch
from torch import Tensor, nn

from slrtune.models import create_model
from slrtune.models.cnn_transformer import CNNTransformer
from slrtune.models.timesformer import TimeSformer
from slrtune.models.timesformer_weights import load_timesformer_weights
from slrtune.models.transformer import LAYER_NORM_EPS

NUM_CLASSES = 100


class HuggingFaceLogits(nn.Module):
    """Hugging Face's TimeSformer as a function from frames to logits."""

    def __init__(self, num_frames: int, image_size: int) -> None:
        super().__init__()
        from transformers import TimesformerConfig, TimesformerForVideoClassification

        config = TimesformerConfig(
            num_frames=num_frames,
            image_size=image_size,
            num_labels=NUM_CLASSES,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            drop_path_rate=0,  # typed int there
        )
        self.network = TimesformerForVideoClassification(config)

    def forward(self, frames: Tensor) -> Tensor:
        """(B, T, C, H, W) to (B, G)."""
        logits: Tensor = self.network(pixel_values=frames).logits
        return logits


def timesformer_like(theirs: HuggingFaceLogits, **settings: Any) -> TimeSformer:
    """Our TimeSformer-B with all weights of ``theirs``."""
    config = theirs.network.config
    ours = create_model(
        "timesformer",
        num_classes=NUM_CLASSES,
        num_frames=config.num_frames,
        image_size=config.image_size,
        drop_path=0.0,
        **settings,
    )
    assert isinstance(ours, TimeSformer)
    with tempfile.TemporaryDirectory() as folder:
        theirs.network.save_pretrained(folder)
        load_timesformer_weights(ours, folder, load_head=True)
    return ours


class TimmAndTorch(nn.Module):
    """The usual few lines: timm's ResNet-50, `nn.TransformerEncoder`, mean, linear."""

    def __init__(self, num_frames: int, embed_dim: int, depth: int, num_heads: int) -> None:
        super().__init__()
        self.backbone = timm.create_model("resnet50", pretrained=False, num_classes=0)
        self.projection = nn.Sequential(
            nn.Linear(self.backbone.num_features, embed_dim),
            nn.LayerNorm(embed_dim, eps=LAYER_NORM_EPS),
        )
        self.position_embedding = nn.Parameter(torch.zeros(1, num_frames, embed_dim))
        layer = nn.TransformerEncoderLayer(
            embed_dim,
            num_heads,
            4 * embed_dim,
            dropout=0.0,
            activation="gelu",
            layer_norm_eps=LAYER_NORM_EPS,
            batch_first=True,
            norm_first=True,
        )
        norm = nn.LayerNorm(embed_dim, eps=LAYER_NORM_EPS)
        self.encoder = nn.TransformerEncoder(layer, depth, norm, enable_nested_tensor=False)
        self.head = nn.Linear(embed_dim, NUM_CLASSES)

    def forward(self, frames: Tensor) -> Tensor:
        """(B, T, C, H, W) to (B, G)."""
        features = self.backbone(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])
        tokens = self.projection(features) + self.position_embedding
        return self.head(self.encoder(tokens).mean(dim=1))


def timm_and_torch_like(ours: CNNTransformer) -> TimmAndTorch:
    """The usual few lines with all weights of ``ours``."""
    assert ours.position_embedding is not None
    _, num_frames, embed_dim = ours.position_embedding.shape
    blocks = ours.encoder.blocks
    num_heads = blocks[0].attention.num_heads  # type: ignore[union-attr]
    theirs = TimmAndTorch(num_frames, embed_dim, len(blocks), int(num_heads))  # type: ignore[arg-type]
    renamed = (
        ("backbone.network.", "backbone."),
        ("encoder.blocks.", "encoder.layers."),
        (".attention.qkv.weight", ".self_attn.in_proj_weight"),
        (".attention.qkv.bias", ".self_attn.in_proj_bias"),
        (".attention.proj.", ".self_attn.out_proj."),
        (".mlp.fc1.", ".linear1."),
        (".mlp.fc2.", ".linear2."),
    )
    weights = {}
    for name, value in ours.state_dict().items():
        for ours_part, theirs_part in renamed:
            name = name.replace(ours_part, theirs_part)
        weights[name] = value
    theirs.load_state_dict(weights)
    return theirs


def chunked_softmax_attention(
    query: Tensor, key: Tensor, value: Tensor, chunk_size: int | None
) -> Tensor:
    """The plain loop: softmax(q k^T / sqrt(D)) v for ``chunk_size`` query rows at a time.

    All of (B, H, L, D).
    """
    scale = query.shape[-1] ** -0.5
    chunks = query.split(chunk_size or query.shape[2], dim=2)
    return torch.cat(
        [((chunk @ key.transpose(-2, -1)) * scale).softmax(dim=-1) @ value for chunk in chunks],
        dim=2,
    )
