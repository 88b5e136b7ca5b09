"""`model:` which architecture, and one section of settings per architecture."""

from __future__ import annotations

from dataclasses import dataclass, replace
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


@dataclass(frozen=True)
class ViTShape:
    """What decides the parameters of an image encoder.

    Attributes:
        backbone: timm architecture.
        features: length of a frame's vector.
        depth, num_heads, patch_size: of a ViT, as wide as ``features``; None for a CNN.
        temporal_layers: convolutions over time that go with it.
    """

    backbone: str
    features: int
    depth: int | None = None
    num_heads: int | None = None
    patch_size: int | None = None
    temporal_layers: int = 4


DenseViTSize = Literal["large", "base", "small", "tiny", "mobilenetv3_large", "tiny_resnet"]
DENSE_VIT_SHAPES: dict[DenseViTSize, ViTShape] = {
    "large": ViTShape("vit_large_patch16_224", 1024, 24, 16, 16),
    "base": ViTShape("vit_base_patch16_224", 768, 12, 12, 16),
    "small": ViTShape("vit_small_patch16_224", 384, 12, 6, 16),
    "tiny": ViTShape("vit_tiny_patch16_224", 128, 4, 4, 16),
    "mobilenetv3_large": ViTShape("mobilenetv3_large_100", 960, temporal_layers=2),
    "tiny_resnet": ViTShape("test_resnet", 96, temporal_layers=2),
}


class DenseViTConfig(Settings):
    """Translator: ViT per frame, convolutions over time, attention pooling, text decoder."""

    task: ClassVar[Task] = "translation"

    size: DenseViTSize = "large"
    """Encoder of frames. Parameters: large 304 M (24 blocks of width 1024, 16 heads), base 86 M
    (12 of 768, 12), small 22 M (12 of 384, 6), tiny 0.9 M (4 of 128, 4; for trying things out),
    mobilenetv3_large 3.0 M (a CNN of 960 features, the light one), tiny_resnet 0.4 M (a CNN of 96
    features, which learns from few small videos on a CPU)."""
    embed_dim: int | None = Field(default=None, ge=8, le=8192)
    """Width of the ViT; null = that of size."""
    depth: int | None = Field(default=None, ge=1, le=64)
    """Blocks of the ViT; null = those of size."""
    num_heads: int | None = Field(default=None, ge=1, le=64)
    """Attention heads of the ViT, must divide its width; null = those of size."""
    patch_size: int | None = Field(default=None, ge=2, le=64)
    """Pixels per patch side, must divide image_size; null = 16."""
    pretrained: bool | str = False
    """false = random; true = timm's weights of size; the name of others of the same shape
    (vit_large_patch16_224.augreg_in21k), or a path to a weights file or to the best.pt of another
    translator, whose encoder is taken."""
    hidden_dim: int | None = Field(default=None, ge=16, le=8192)
    """Width of everything over time; null = length of a frame's features."""
    temporal_layers: int | None = Field(default=None, ge=0, le=16)
    """Depthwise-separable convolutions over time; null = 4, or 2 with mobilenetv3_large."""
    temporal_kernel_size: int = Field(default=5, ge=1, le=63)
    """Frames that each of them sees; odd."""
    use_temporal_attention: bool = False
    """A transformer block over the frames after the convolutions."""
    num_queries: int | None = Field(default=32, ge=1, le=1024)
    """Learned queries that gather the frames into so many tokens. null = keep the axis of time, as
    CTC wants it for long videos: a text must not be longer than it."""
    temporal_stride: int = Field(default=1, ge=1, le=16)
    """With num_queries null: so many neighbouring frames become one token."""
    pool_heads: int = Field(default=16, ge=1, le=64)
    """Attention heads of the pooling and of temporal attention; must divide hidden_dim."""
    use_ctc_positions: bool = False
    """Tell the decoder how many tokens of the text CTC has read up to each token of the video: it
    then learns within few epochs where to look, which it otherwise does only from much data."""
    region_attention: tuple[tuple[int, int], ...] = ()
    """Look at parts of each frame beside the whole, and learn where they are from landmarks
    (data.keypoints): for each part its first landmark and the one behind its last, by numbers from
    0, such as [[0, 21], [21, 42], [42, 110]] for two hands and a face. A trained model finds them
    without landmarks. Empty = the whole frame only."""
    decoder_depth: int = Field(default=4, ge=1, le=32)
    """Blocks of the text decoder."""
    decoder_dim: int | None = Field(default=None, ge=16, le=8192)
    """Width of the text decoder, even; null = 512, or hidden_dim where that is less."""
    decoder_heads: int = Field(default=8, ge=1, le=64)
    """Attention heads of the text decoder; must divide its width."""
    max_text_length: int = Field(default=128, ge=2, le=4096)
    """Tokens of the longest text that is learned or written, begin and end included."""
    dropout: float = Field(default=0.2, ge=0.0, lt=1.0)
    """Dropout over time and in the decoder."""
    drop_path: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Stochastic depth of the encoder's last block."""
    freeze_batch_norm: bool = False
    """Keep the BatchNorm statistics of mobilenetv3_large fixed."""
    frame_chunk_size: int | None = Field(default=None, ge=1)
    """Frames that go through the encoder at once; null = all frames of the micro-batch."""
    attention_chunk_size: int | None = Field(default=None, ge=1)
    """Query rows of the encoder's attention processed at once; null = all."""
    activation_checkpointing: ActivationCheckpointing = False
    """Recompute activations in the backward pass: true = all, a third more time; selective = only
    what is cheap (norms, activation functions, copies); false = none. By chunks of frames where
    frame_chunk_size is set, else block by block."""

    @property
    def is_shape_known(self) -> bool:
        """Whether what is set goes together: a CNN has no patches."""
        is_vit = DENSE_VIT_SHAPES[self.size].depth is not None
        return is_vit or all(getattr(self, key) is None for key in VIT_SETTINGS)

    @property
    def shape(self) -> ViTShape:
        """The encoder of frames: that of ``size`` with what is set here."""
        return dense_vit_shape(
            self.size, self.embed_dim, self.depth, self.num_heads, self.patch_size
        )

    @property
    def widths(self) -> tuple[int, int]:
        """Of the tokens of the video and of the decoder."""
        hidden_dim = self.hidden_dim or self.shape.features
        return hidden_dim, self.decoder_dim or min(hidden_dim, DEFAULT_DECODER_DIM)


VIT_SETTINGS = ("embed_dim", "depth", "num_heads", "patch_size")
DEFAULT_DECODER_DIM = 512


def dense_vit_shape(
    size: DenseViTSize,
    embed_dim: int | None = None,
    depth: int | None = None,
    num_heads: int | None = None,
    patch_size: int | None = None,
) -> ViTShape:
    """The shape called ``size`` with what is not None replaced.

    Raises:
        ValueError: settings of a ViT for a CNN.
    """
    shape = DENSE_VIT_SHAPES[size]
    fields = ("features", "depth", "num_heads", "patch_size")
    given = zip(fields, (embed_dim, depth, num_heads, patch_size), strict=True)
    changes = {name: value for name, value in given if value is not None}
    if changes and shape.depth is None:
        raise ValueError(f"{', '.join(VIT_SETTINGS)} must be null for size {size}, a CNN")
    return replace(shape, **changes)  # type: ignore[arg-type]


ModelSection = CNNTransformerConfig | TimeSformerConfig | DenseViTConfig


class ModelConfig(Settings):
    """The architecture's name, and its settings in the section of the same name."""

    name: Literal["cnn_transformer", "timesformer", "dense_vit"] = "cnn_transformer"
    """Which section below is built."""
    cnn_transformer: CNNTransformerConfig = CNNTransformerConfig()
    """Settings used when name is cnn_transformer."""
    timesformer: TimeSformerConfig = TimeSformerConfig()
    """Settings used when name is timesformer."""
    dense_vit: DenseViTConfig = DenseViTConfig()
    """Settings used when name is dense_vit, a translator: a model of texts instead of glosses."""

    @property
    def task(self) -> Task:
        """What the chosen architecture does."""
        return self.section.task

    @property
    def section(self) -> ModelSection:
        """The settings of the chosen architecture."""
        section: ModelSection = getattr(self, self.name)
        return section
