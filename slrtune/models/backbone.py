"""A timm image network that turns each frame into a vector.

Shapes: N frames of all clips, C channels, H W pixels, F features.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from functools import partial
from typing import Any

import timm
import torch
from timm.models import get_pretrained_cfg
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from slrtune.config.errors import UserError
from slrtune.models.recompute import ActivationCheckpointing, recomputed
from slrtune.models.weights import hub_download, load_weights, read_weights


class FrameBackbone(nn.Module):
    """Features of single frames, averaged over the pixels.

    In training, BatchNorm takes its statistics from each chunk of frames: ``frame_chunk_size``
    changes them, unless ``freeze_batch_norm`` is set.

    Args:
        name: timm architecture, optionally with a weights tag: ``resnet50`` or
            ``resnet50.a1_in1k``.
        image_size: H and W, for architectures that must know it.
        pretrained: True fetches timm's weights from the Hugging Face hub or its cache; a path loads
            a ``.safetensors`` or ``.pth`` file, whose classifier is ignored; False starts random.
        frame_chunk_size: the most frames processed at once; None for all.
        activation_checkpointing: keep no activations inside a chunk, compute them again in
            backward. It lowers the memory only with more than one chunk, so is skipped for one.
        freeze_batch_norm: BatchNorm normalises with the running statistics in training too.

    Attributes:
        num_features: length F of a frame's feature vector.

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
    ) -> None:
        super().__init__()
        if frame_chunk_size is not None and frame_chunk_size < 1:
            raise ValueError(f"frame_chunk_size must be >= 1 or None, but is {frame_chunk_size}")
        self.frame_chunk_size = frame_chunk_size
        self.activation_checkpointing = activation_checkpointing
        self.freeze_batch_norm = freeze_batch_norm
        network = _create_network(name, image_size, pretrained)
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

    def forward(self, frames: Tensor) -> Tensor:
        """Map (N, C, H, W) frames to (N, F) features."""
        if len(frames) == 0:
            return frames.new_zeros(0, self.num_features)
        if self.frame_chunk_size is None or len(frames) <= self.frame_chunk_size:
            return self._features(frames)
        # Even chunks: a short last one would give BatchNorm poor statistics.
        chunks = frames.tensor_split(math.ceil(len(frames) / self.frame_chunk_size))
        run = partial(
            recomputed,
            self._features,
            mode=self.activation_checkpointing,
            while_recomputing=partial(_unchanged_running_statistics, self.network),
        )
        return torch.cat([run(chunk) for chunk in chunks])

    def _features(self, frames: Tensor) -> Tensor:
        return self.network(frames.contiguous(memory_format=torch.channels_last))


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


def _create_network(name: str, image_size: int, pretrained: bool | str) -> Any:
    published = _published_config(name)
    # Vision transformers tie their positions to the image size and must be told it.
    size = {"img_size": image_size} if published.fixed_input_size else {}

    def create(use_hub_weights: bool) -> Any:
        return timm.create_model(
            name, pretrained=use_hub_weights, num_classes=0, global_pool="avg", **size
        )

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
            for key, value in read_weights(pretrained).items()
            if not key.startswith(tuple(f"{head}." for head in heads))
        }
        load_weights(network, weights, pretrained)
    return network


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
