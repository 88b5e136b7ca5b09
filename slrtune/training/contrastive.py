"""Contrastive pretraining: two views of a clip are alike, those of different clips are not.

Shapes: B clips, T frames, C channels, H W pixels, E embedding.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

_TEMPERATURE = 0.1
_MAX_SHIFT = 0.1  # of the picture's side
_MAX_GAIN, _MAX_TINT = 0.4, 0.2
_SPEEDS = (0.8, 1.0)  # share of the clip that a view shows


def second_view(frames: Tensor) -> Tensor:
    """Normalised clips (B, T, C, H, W) seen anew: moved, stretched in time, lighter or darker.

    Draws from torch's generator of the CPU, which the loop seeds: a resumed trial sees the same.
    """
    batch, num_frames, channels = frames.shape[:3]
    draws = torch.rand(batch, 5 + channels)
    shares = _SPEEDS[0] + draws[:, 0] * (_SPEEDS[1] - _SPEEDS[0])
    starts = draws[:, 1] * (1 - shares)
    steps = (torch.arange(num_frames) + 0.5) / num_frames
    places = ((starts[:, None] + steps * shares[:, None]) * num_frames).long()
    clips = torch.arange(batch)[:, None]
    viewed = frames[clips.to(frames.device), places.to(frames.device)]
    gains = 1 + (2 * draws[:, 2] - 1) * _MAX_GAIN
    tints = (2 * draws[:, 5:] - 1) * _MAX_TINT
    viewed = viewed * gains.to(viewed.device).view(-1, 1, 1, 1, 1)
    viewed = viewed + tints.to(viewed.device).view(batch, 1, channels, 1, 1)
    return _moved(viewed, (2 * draws[:, 3:5] - 1) * _MAX_SHIFT)


def _moved(frames: Tensor, shifts: Tensor) -> Tensor:
    """All frames of a clip moved by shifts (B, 2) of the picture's sides, the edge repeated."""
    height, width = frames.shape[-2:]
    moved = []
    for clip, (right, down) in zip(frames, shifts.tolist(), strict=True):
        rows = (torch.arange(height) - round(down * height)).clamp(0, height - 1)
        columns = (torch.arange(width) - round(right * width)).clamp(0, width - 1)
        device = frames.device
        moved.append(clip[..., rows.to(device)[:, None], columns.to(device)])
    return torch.stack(moved)


def contrastive_losses(embeddings: Tensor) -> Tensor:
    """Float32 (B,): NT-Xent (Chen et al. 2020, eq. 1) of each clip, the mean over its two views.

    Args:
        embeddings: (2 B, E) of length 1: all clips, then their second views.
    """
    embeddings = embeddings.float()
    batch = len(embeddings) // 2
    likeness = embeddings @ embeddings.T / _TEMPERATURE
    itself = torch.eye(2 * batch, dtype=torch.bool, device=likeness.device)
    partners = torch.arange(2 * batch, device=likeness.device).roll(batch)
    losses = F.cross_entropy(likeness.masked_fill(itself, -torch.inf), partners, reduction="none")
    return losses.view(2, batch).mean(dim=0)
