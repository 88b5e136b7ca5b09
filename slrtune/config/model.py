"""`model:` which architecture, and one section of settings per architecture."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from slrtune.config.base import Settings
from slrtune.config.objective import Task

ActivationCheckpointing = bool | Literal["selective"]


class CNNTransformerConfig(Settings):
    """timm CNN per frame, pre-norm transformer over time. Defaults: the full-size model."""

    task: ClassVar[Task] = "recognition"

    backbone: str = "resnet50"
    """Any timm model name."""
    pretrained: bool | str = True
    """true = published weights by name, false = random, or a path to a weights file."""
    embed_dim: int = Field(default=512, ge=8, le=8192)
    """D: width of the transformer."""
    depth: int = Field(default=6, ge=1, le=64)
    """Transformer blocks."""
    num_heads: int = Field(default=8, ge=1, le=64)
    """Attention heads; must divide embed_dim."""
    mlp_ratio: float = Field(default=4.0, gt=0.0, le=16.0)
    """Width of the feed-forward layer over embed_dim."""
    dropout: float = Field(default=0.1, ge=0.0, lt=1.0)
    """Dropout in the transformer and before the classifier."""
    attention_chunk_size: int | None = Field(default=128, ge=1)
    """Query rows processed at once; null = all."""
    frame_chunk_size: int | None = Field(default=None, ge=1)
    """Frames that go through the backbone at once; null = all frames of the micro-batch.
    activation_checkpointing spares the backbone's memory only with chunks: set 16 or 32."""
    activation_checkpointing: ActivationCheckpointing = False
    """Recompute activations in the backward pass: true = all, a third more time; selective = only
    what is cheap (norms, activation functions, copies); false = none."""
    freeze_batch_norm: bool = False
    """Keep the backbone's BatchNorm statistics fixed."""
    backbone_drop_path: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Stochastic depth of the backbone's last block, for architectures that have it."""
    position: Literal["learned", "sinusoidal"] = "learned"
    """Position embedding over time."""
    pooling: Literal["mean", "class_token", "attention"] = "mean"
    """How the frames become one vector."""
    temporal_conv_layers: int = Field(default=0, ge=0, le=16)
    """Convolutions over time before the transformer."""
    temporal_conv_kernel_size: int = Field(default=5, ge=1, le=63)
    """Frames that each of them sees; odd."""


class TimeSformerConfig(Settings):
    """Space-time attention (Bertasius et al. 2021). Defaults: TimeSformer base."""

    task: ClassVar[Task] = "recognition"

    patch_size: int = Field(default=16, ge=2, le=64)
    """Pixels per patch side; must divide image_size."""
    pretrained: bool | str = False
    """false = random; true = published for Kinetics-400; a folder in the Hugging Face TimeSformer
    layout or its hub name; a timm ViT by name (vit_base_patch16_224) or its weights file."""
    embed_dim: int = Field(default=768, ge=8, le=8192)
    """D: width of the transformer."""
    depth: int = Field(default=12, ge=1, le=64)
    """Transformer blocks."""
    num_heads: int = Field(default=12, ge=1, le=64)
    """Attention heads; must divide embed_dim."""
    mlp_ratio: float = Field(default=4.0, gt=0.0, le=16.0)
    """Width of the feed-forward layer over embed_dim."""
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Dropout after embeddings, attention and feed-forward layers."""
    attention_dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Dropout of attention weights."""
    drop_path: float = Field(default=0.1, ge=0.0, lt=1.0)
    """Stochastic depth of the last block, rising linearly from 0."""
    attention_type: Literal["divided_space_time", "joint_space_time", "space_only"] = (
        "divided_space_time"
    )
    """Attention over time and space in turn, over both at once, or over space alone."""
    attention_chunk_size: int | None = Field(default=None, ge=1)
    """Query rows processed at once; null = all."""
    activation_checkpointing: ActivationCheckpointing = False
    """Recompute activations in the backward pass: true = all, a third more time; selective = only
    what is cheap (norms, activation functions, copies); false = none."""


ModelSection = CNNTransformerConfig | TimeSformerConfig


class ModelConfig(Settings):
    """The architecture's name, and its settings in the section of the same name."""

    name: Literal["cnn_transformer", "timesformer"] = "cnn_transformer"
    """Which section below is built."""
    cnn_transformer: CNNTransformerConfig = CNNTransformerConfig()
    """Settings used when name is cnn_transformer."""
    timesformer: TimeSformerConfig = TimeSformerConfig()
    """Settings used when name is timesformer."""

    @property
    def task(self) -> Task:
        """What the chosen architecture does."""
        return self.section.task

    @property
    def section(self) -> ModelSection:
        """The settings of the chosen architecture."""
        section: ModelSection = getattr(self, self.name)
        return section
