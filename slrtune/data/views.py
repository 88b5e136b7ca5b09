"""Several views of each clip, whose predictions a multi-view test averages.

Shapes: V views, T frames, C channels, H W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch.utils.data import Dataset

from slrtune.config.data import DataConfig
from slrtune.data.augment import evaluation_view
from slrtune.data.dataset import ClipDataset, Sample
from slrtune.data.resize import channels_first
from slrtune.data.sampling import uniform


@dataclass(frozen=True)
class Views:
    """Which views of a clip there are; one of each = what validation sees.

    Attributes:
        num_temporal: sets of frames, evenly shifted against each other.
        num_crops: squares along the longer side: the middle one, or also both ends.
    """

    num_temporal: int = 1
    num_crops: Literal[1, 3] = 1

    def __len__(self) -> int:
        """V."""
        return self.num_temporal * self.num_crops


class MultiViewDataset(Dataset[Sample]):
    """The clips of a split with frames uint8 (V, T, C, H, W). Nothing random."""

    def __init__(self, clips: ClipDataset, config: DataConfig, views: Views) -> None:
        self._clips, self._config, self._views = clips, config, views

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, key: int | tuple[int, ...]) -> Sample:
        """The sample of an index, or of a loader's key, whose second part is the index."""
        index = key[1] if isinstance(key, tuple) else key
        clip, packed = self._clips.clips[index], self._clips.packed_frames(index)
        config, num_temporal = self._config, self._views.num_temporal
        frames = []
        for view in range(num_temporal):
            chosen = packed[uniform(len(packed), config.num_frames, view, num_temporal)]
            pixels = channels_first(torch.from_numpy(chosen))
            shifts = (0.0,) if self._views.num_crops == 1 else (-1.0, 0.0, 1.0)
            frames += [evaluation_view(pixels, config.image_size, shift) for shift in shifts]
        return Sample(torch.stack(frames), clip.label, clip.clip_id)
