"""Mixup and CutMix of clips: pixels and labels of two clips of a micro-batch become one.

Written out instead of torchvision.transforms.v2.MixUp and CutMix: those draw once per batch, from
the global generator, and know pictures only.

The partner of a clip is the one before it in the micro-batch, so pairs depend on its size and on
the order of the epoch. The share and the box depend on (seed, epoch, clip id) alone: not on ranks,
loader processes or how the process got there.

Shapes: B batch, T frames, C channels, H W pixels, G glosses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from slrtune.config.training import TrainingConfig
from slrtune.data.loader import ClipBatch
from slrtune.data.seeding import Purpose, random_stream

Box = tuple[int, int, int, int]
"""top, bottom, left, right; the second and the last are not inside."""


@dataclass(frozen=True)
class Mix:
    """How one clip is mixed: by a blend of all pixels, or by a box of the partner's.

    Attributes:
        share: of the clip itself in its pixels and label, 0..1; the rest is the partner's.
        box: None for mixup.
    """

    share: float
    box: Box | None = None


def draw_mix(config: TrainingConfig, rng: np.random.Generator, height: int, width: int) -> Mix:
    """One clip's mix; a coin chooses where both kinds are on."""
    use_cutmix = config.cutmix_alpha > 0 and (config.mixup_alpha == 0 or rng.random() < 0.5)
    if not use_cutmix:
        return Mix(float(rng.beta(config.mixup_alpha, config.mixup_alpha)))
    side = (1.0 - rng.beta(config.cutmix_alpha, config.cutmix_alpha)) ** 0.5
    top, bottom = _span(rng.uniform(), side, height)
    left, right = _span(rng.uniform(), side, width)
    share = 1.0 - (bottom - top) * (right - left) / (height * width)
    return Mix(share, (top, bottom, left, right))


def _span(centre: float, side: float, length: int) -> tuple[int, int]:
    """A stretch of ``side`` of the length around ``centre``, cut off at the edges."""
    first, last = centre - side / 2, centre + side / 2
    return round(max(first, 0.0) * length), round(min(last, 1.0) * length)


def draw_mixes(config: TrainingConfig, epoch: int, batch: ClipBatch) -> list[Mix]:
    """The mix of every clip of a micro-batch; none with both alphas 0.

    Args:
        epoch: 0-based.
        batch: best on the CPU: else this waits for the device.
    """
    if not config.mixup_alpha and not config.cutmix_alpha:
        return []
    height, width = batch.frames.shape[-2:]
    ids = batch.clip_ids.tolist()
    streams = (random_stream(Purpose.MIX, config.seed, epoch, clip_id) for clip_id in ids)
    return [draw_mix(config, rng, height, width) for rng in streams]


def mix_inputs(inputs: Tensor, mixes: Sequence[Mix]) -> Tensor:
    """Mix every clip with the one before it, in place; without ``mixes`` nothing happens.

    Args:
        inputs: normalised frames (B, T, C, H, W), or features (B, T, F) for mixup alone.
    """
    if not mixes:
        return inputs
    partners = inputs.roll(1, dims=0)
    for clip, partner, mix in zip(inputs, partners, mixes, strict=True):
        if mix.box is None:
            clip.lerp_(partner, 1.0 - mix.share)
        else:
            top, bottom, left, right = mix.box
            clip[..., top:bottom, left:right] = partner[..., top:bottom, left:right]
    return inputs


def mix_labels(labels: Tensor, mixes: Sequence[Mix], num_glosses: int) -> Tensor:
    """Targets for the cross-entropy: (B, G) shares that add up to 1, or ``labels`` as they are.

    Args:
        labels: int64 (B,).
    """
    if not mixes:
        return labels
    shares = torch.tensor([mix.share for mix in mixes], dtype=torch.float32)
    own = F.one_hot(labels, num_glosses).to(torch.float32)
    return own.roll(1, dims=0).lerp(own, shares.to(own.device, non_blocking=True)[:, None])
