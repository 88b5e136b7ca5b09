"""Positions in time and on the image, and their interpolation to other sizes.

Shapes: T frames, N patches of a frame, D width.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slrtune.models.transformer import INIT_STD


def learned_tokens(num_tokens: int, embed_dim: int) -> nn.Parameter:
    """(1, num_tokens, D) learned vectors, for positions and class tokens."""
    return nn.Parameter(nn.init.trunc_normal_(torch.empty(1, num_tokens, embed_dim), std=INIT_STD))


def sinusoidal_positions(
    num_frames: int, embed_dim: int, device: torch.device | None = None
) -> Tensor:
    """(T, D) sines and cosines of Vaswani et al. 2017, section 3.5; D must be even."""
    return positions_at(torch.arange(num_frames, device=device), embed_dim)


def positions_at(places: Tensor, embed_dim: int) -> Tensor:
    """(..., D) sines and cosines of places (...), which need not be whole; D must be even."""
    even = torch.arange(0, embed_dim, 2, device=places.device)
    frequency = torch.exp(even * (-math.log(10_000.0) / embed_dim))
    angles = places[..., None] * frequency
    return torch.stack((torch.sin(angles), torch.cos(angles)), dim=-1).flatten(-2)


def resize_time_positions(positions: Tensor, num_frames: int) -> Tensor:
    """Interpolate (1, T, D) positions linearly to (1, num_frames, D)."""
    if positions.shape[1] == num_frames:
        return positions
    resized = F.interpolate(positions.transpose(1, 2), size=num_frames, mode="linear")
    return resized.transpose(1, 2)


def resize_patch_positions(positions: Tensor, height: int, width: int) -> Tensor:
    """Interpolate (1, 1 + N, D) positions of a square grid to (1, 1 + height * width, D).

    The first position belongs to the class token and stays.
    """
    side = math.isqrt(positions.shape[1] - 1)
    if (side, side) == (height, width):
        return positions
    grid = positions[:, 1:].transpose(1, 2).unflatten(2, (side, side))
    grid = F.interpolate(grid, size=(height, width), mode="bicubic")
    return torch.cat((positions[:, :1], grid.flatten(2).transpose(1, 2)), dim=1)
