"""A timm image network that turns each frame into a vector.

Shapes: B batch, T frames, N frames of all clips, C channels, H W pixels, F features.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from functools import partial
from typing import Any

import timm
import torch
from timm.models import get_pretrained_cfg, group_parameters
from timm.optim import auto_group_layers
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from slrtune.config.errors import UserError
from slrtune.config.model import ActivationCheckpointing
from slrtune.models.attention import none_if_all_valid
from slrtune.models.recompute import recomputed
from slrtune.models.regions import RegionAttention
from slrtune.models.weights import hub_download, load_weights, read_weights

_IN_CHECKPOINTS = "backbone.network."


class FrameBackbone(nn.Module):
    """Features of single frames, pooled as the architecture's published classifier does.

    In training, BatchNorm takes its statistics from each chunk of frames: ``frame_chunk_size``
    changes them, unless ``freeze_batch_norm`` is set.

    Args:
        name: timm architecture, optionally with a weights tag: ``resnet50`` or
            ``resnet50.a1_in1k``.
        image_size: H and W, for architectures that must know it.
        pretrained: True fetches timm's weights from the Hugging Face hub or its cache; a path loads
            a ``.safetensors`` or ``.pth`` file, whose classifier is ignored, or the encoder of a
            ``best.pt`` that slrtune wrote; False starts random.
        frame_chunk_size: the most frames processed at once; None for all.
        activation_checkpointing: what backward computes again of each chunk of frames, see
            :func:`recomputed`. With True the activations do not grow with the number of frames
            beyond a chunk. A single chunk is not recomputed: that would save nothing.
        freeze_batch_norm: BatchNorm normalises with the running statistics in training too.
        drop_path: stochastic depth of the last block, where the architecture has it.
        options: further keyword arguments of the architecture, such as another depth.

    Attributes:
        num_features: length F of a frame's feature vector.
        regions: where set, its scores follow the features of each frame.

    Raises:
        UserError: timm has no such architecture, or the weights cannot be had or do not fit.
        ValueError: ``frame_chunk_size`` is below 1.
    """

    def __init__(
        self,
        name: str,
        *,
        image_size: int,
        pretrained: bool | str,
        frame_chunk_size: int | None,
        activation_checkpointing: ActivationCheckpointing,
        freeze_batch_norm: bool,
        drop_path: float = 0.0,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if frame_chunk_size is not None and frame_chunk_size < 1:
            raise ValueError(f"frame_chunk_size must be >= 1 or None, but is {frame_chunk_size}")
        self.frame_chunk_size = frame_chunk_size
        self.regions: RegionAttention | None = None
        self.activation_checkpointing = activation_checkpointing
        self.freeze_batch_norm = freeze_batch_norm
        network = _create_network(name, image_size, pretrained, drop_path, options or {})
        if activation_checkpointing == "selective":
            # A kept result must not be overwritten.
            for module in network.modules():
                if getattr(module, "inplace", False):
                    module.inplace = False
        self.num_features: int = network.head_hidden_size
        # Convolutions on the CPU and with tensor cores are faster with the channels last.
        self.network = network.to(memory_format=torch.channels_last)
        self.train()

    def train(self, mode: bool = True) -> FrameBackbone:
        super().train(mode)
        if self.freeze_batch_norm:
            for batch_norm in _batch_norms(self.network):
                batch_norm.eval()
        return self

    def forward(self, frames: Tensor, indices: Tensor | None = None) -> Tensor:
        """Features of frames.

        Args:
            frames: (N, C, H, W).
            indices: (M,), which of the frames; None for all. They are gathered chunk by chunk.

        Returns:
            (M, F).
        """
        num_frames = (frames if indices is None else indices).shape[0]
        if num_frames == 0:
            return frames.new_zeros(0, self.num_features)
        if self.frame_chunk_size is None or num_frames <= self.frame_chunk_size:
            return self._features(frames, indices)
        # Even chunks: a short last one would give BatchNorm poor statistics.
        num_chunks = math.ceil(num_frames / self.frame_chunk_size)
        chunks: Iterable[tuple[Tensor, Tensor | None]]
        if indices is None:
            chunks = ((chunk, None) for chunk in frames.tensor_split(num_chunks))
        else:
            chunks = ((frames, chunk) for chunk in indices.tensor_split(num_chunks))
        context = partial(_unchanged_running_statistics, self.network)
        features = [
            recomputed(
                self._features,
                *chunk,
                mode=self.activation_checkpointing,
                while_recomputing=context if self.mixes_frames else None,
            )
            for chunk in chunks
        ]
        return torch.cat(features)

    def of_clips(self, frames: Tensor, frame_mask: Tensor | None) -> Tensor:
        """Features of the valid frames of clips; those of padded frames are zero.

        Padded frames never enter the network, so they cost nothing and leave BatchNorm alone; but
        in a compiled or exported graph they do where BatchNorm takes no statistics.

        Args:
            frames: (B, T, C, H, W).
            frame_mask: (B, T), True where a frame is valid.

        Returns:
            (B, T, F).
        """
        mask, flat = none_if_all_valid(frame_mask), frames.flatten(0, 1)
        if mask is None:
            return self(flat).unflatten(0, frames.shape[:2])
        if torch.compiler.is_compiling() and not self.mixes_frames:
            # A graph has no room for a number of frames that only the mask knows.
            blank = frames.masked_fill(~mask[..., None, None, None], 0.0)
            features: Tensor = self(blank.flatten(0, 1)).unflatten(0, frames.shape[:2])
            return features.masked_fill(~mask[..., None], 0.0)
        valid = mask.flatten().nonzero().squeeze(1)
        features = self(flat, valid)
        padded = features.new_zeros(flat.shape[0], features.shape[1])
        return padded.index_copy(0, valid, features).unflatten(0, frames.shape[:2])

    @property
    def mixes_frames(self) -> bool:
        """Whether a frame's features depend on the others: BatchNorm takes its statistics now."""
        return any(norm.training for norm in _batch_norms(self.network))

    def layer_depths(self) -> dict[str, int]:
        """Depth of each parameter of ``network`` by name: 0 at the pixels, rising."""
        depths: dict[str, int]
        if hasattr(self.network, "group_matcher"):
            matcher = self.network.group_matcher(coarse=False)
            depths = group_parameters(self.network, matcher, reverse=True)
        else:
            depths = auto_group_layers(self.network)
        return depths

    def _features(self, frames: Tensor, indices: Tensor | None) -> Tensor:
        if indices is not None:
            frames = frames.index_select(0, indices)
        frames = frames.contiguous(memory_format=torch.channels_last)
        if self.regions is None:
            return self.network(frames)
        patches = self.network.forward_features(frames)
        features = self.network.forward_head(patches)
        if patches.ndim == 4:  # of a CNN
            patches = patches.flatten(2).transpose(1, 2)
        else:
            patches = patches[:, self.network.num_prefix_tokens :]
        return self.regions(features, patches)


def _batch_norms(module: nn.Module) -> list[_BatchNorm]:
    return [child for child in module.modules() if isinstance(child, _BatchNorm)]


@contextmanager
def _unchanged_running_statistics(module: nn.Module) -> Iterator[None]:
    """Let BatchNorm normalise as in training, but neither average nor count the batch again."""
    saved = [(norm, norm.momentum, norm.num_batches_tracked) for norm in _batch_norms(module)]
    try:
        for norm, _, _ in saved:
            norm.momentum, norm.num_batches_tracked = 0.0, None
        yield
    finally:
        for norm, momentum, num_batches_tracked in saved:
            norm.momentum, norm.num_batches_tracked = momentum, num_batches_tracked


def _create_network(
    name: str,
    image_size: int,
    pretrained: bool | str,
    drop_path: float,
    more_options: Mapping[str, Any],
) -> Any:
    published = _published_config(name)
    options = dict(more_options)
    if published.fixed_input_size:
        # Vision transformers tie their positions to the image size and must be told it.
        options["img_size"] = image_size
    if drop_path:
        options["drop_path_rate"] = drop_path

    def create(use_hub_weights: bool) -> Any:
        try:
            return timm.create_model(name, pretrained=use_hub_weights, num_classes=0, **options)
        except TypeError as error:
            if "drop_path_rate" not in str(error):
                raise
            raise UserError(
                f"backbone {name} has no stochastic depth; set backbone_drop_path: 0"
            ) from error

    if pretrained is True:
        origin = f" ({published.hf_hub_id})" if published.hf_hub_id else ""
        with hub_download(f"the weights of backbone {name}{origin}"):
            return create(use_hub_weights=True)
    network = create(use_hub_weights=False)
    if pretrained:
        classifier = published.classifier or ()
        heads = (classifier,) if isinstance(classifier, str) else tuple(classifier)
        weights = {
            key: value
            for key, value in _image_weights(pretrained, network).items()
            if not key.startswith(tuple(f"{head}." for head in heads))
        }
        # What timm itself does to weights from the hub: old names, positions of other image sizes.
        adapt = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
        if adapt is not None:
            weights = adapt(weights, network)
        load_weights(network, weights, pretrained)
    return network


def _image_weights(path: str, network: nn.Module) -> dict[str, Tensor]:
    """Weights of an image network: those of a file, or the encoder's in a checkpoint of ours."""
    weights = read_weights(path)
    ours = {
        name.removeprefix(_IN_CHECKPOINTS): value
        for name, value in weights.items()
        if name.startswith(_IN_CHECKPOINTS)
    }
    if not ours:
        return weights
    # a translator's MobileNetV3 goes without this layer, which is about to be taken out here, too
    unused = {k: v for k, v in network.state_dict().items() if k.startswith("conv_head.")}
    return unused | ours


def _published_config(name: str) -> timm.models.PretrainedCfg:
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        matches = get_close_matches(architecture, timm.list_models(), n=3)
        hint = f"did you mean {' or '.join(matches)}?" if matches else "see timm.list_models()"
        raise UserError(f"backbone must be an architecture of timm, but is {name!r}; {hint}")
    tags = [full.partition(".")[2] for full in timm.list_pretrained(f"{architecture}.*")]
    if tag and tag not in tags:
        raise UserError(
            f"backbone {architecture} has no weights tagged {tag!r} in timm; "
            f"use one of: {', '.join(tags) or 'none'}"
        )
    config = get_pretrained_cfg(name)
    assert config is not None  # both parts of the name were checked above
    return config
