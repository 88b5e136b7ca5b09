"""Looking at parts of a frame: hands and face beside the whole picture.

Shapes: N frames, P patches of a frame, F features, R regions, K landmarks.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from slrtune.models.transformer import LAYER_NORM_EPS, init_weights, xavier_weights


class KeypointHead(nn.Module):
    """Where the landmarks of a frame are, by its features alone.

    Args:
        num_features: F.
        num_keypoints: K.
    """

    def __init__(self, num_features: int, num_keypoints: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(num_features, eps=LAYER_NORM_EPS)
        self.places = nn.Linear(num_features, 2 * num_keypoints)
        self.apply(init_weights)

    def forward(self, features: Tensor) -> Tensor:
        """(B, T, F) to (B, T, K, 2), x and y; the middle of the picture is 0.5."""
        return self.places(self.norm(features)).unflatten(2, (-1, 2)) + 0.5


class RegionAttention(nn.Module):
    """Adds to a frame's features what is seen where each region is.

    A score per region and patch says where that is. It is taught by landmarks and finds the region
    without them later.

    Args:
        num_features: F.
        num_regions: R.
    """

    def __init__(self, num_features: int, num_regions: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(num_features, eps=LAYER_NORM_EPS)
        self.scores = nn.Linear(num_features, num_regions)
        self.merge = nn.Linear(num_regions * num_features, num_features)
        self.apply(xavier_weights)

    def forward(self, features: Tensor, patches: Tensor) -> Tensor:
        """Features (N, F) and patches (N, P, F) to (N, F + R * P): features, then the scores."""
        patches = self.norm(patches)
        scores = self.scores(patches).transpose(1, 2)
        seen = scores.softmax(dim=-1) @ patches
        return torch.cat((features + self.merge(seen.flatten(1)), scores.flatten(1)), dim=1)
