"""Cached clips as samples of a map-style dataset: frames, label, clip id.

Shapes: V views, T frames, C channels, H W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from slrtune.config.data import DataConfig
from slrtune.data.augment import evaluation_view, training_view
from slrtune.data.clip_cache import CacheParameters, ClipCache, decode_clip
from slrtune.data.resize import channels_first
from slrtune.data.sampling import random_segment, uniform
from slrtune.data.seeding import Purpose, random_stream


@dataclass(frozen=True)
class Views:
    """Which views of a clip a multi-view test averages; one of each = what validation sees.

    Attributes:
        num_temporal: sets of frames, evenly shifted against each other.
        num_crops: squares along the longer side: the middle one, or also both ends.
    """

    num_temporal: int = 1
    num_crops: Literal[1, 3] = 1

    def __len__(self) -> int:
        """V."""
        return self.num_temporal * self.num_crops


class Sample(NamedTuple):
    """One clip as the model sees it: uint8 (T, C, H, W), label, and place in the manifest.

    For a multi-view test the frames are uint8 (V, T, C, H, W).
    """

    frames: Tensor
    label: int
    clip_id: int


class CachedClip(NamedTuple):
    """Where a clip lies in the cache file, and what it shows."""

    position: int
    clip_id: int
    label: int


class ClipDataset(Dataset[Sample]):
    """The usable clips of one split, in manifest order.

    Pickles cheaply: the cache file is opened by each process when it reads its first clip.
    """

    def __init__(
        self,
        cache_file: Path,
        clips: tuple[CachedClip, ...],
        config: DataConfig,
        *,
        is_training: bool,
        seed: int,
        views: Views | None = None,
    ) -> None:
        self.clips = clips
        self.is_training = is_training
        self._cache_file = cache_file
        self._config = config
        self._seed = seed
        self._views = views
        self._cache: ClipCache | None = None

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, key: int | tuple[int, int]) -> Sample:
        """The sample of ``index``, or of ``(epoch, index)``; a bare index means epoch 0.

        The epoch travels in the key because persistent loader processes hold their own copy of
        the dataset. A training sample depends on (seed, epoch, clip id) and nothing else.
        """
        epoch, index = key if isinstance(key, tuple) else (0, key)
        clip = self.clips[index]
        cached = self._read(clip)
        if not self.is_training:
            return Sample(self._evaluation_frames(cached), clip.label, clip.clip_id)
        rng = random_stream(Purpose.SAMPLE, self._seed, epoch, clip.clip_id)
        config = self._config
        chosen = (
            random_segment(len(cached), config.num_frames, rng)
            if config.train_sampling == "random_segment"
            else uniform(len(cached), config.num_frames)
        )
        frames = channels_first(torch.from_numpy(cached[chosen]))
        view = training_view(frames, config.image_size, config.augmentation, rng)
        return Sample(view, clip.label, clip.clip_id)

    def _evaluation_frames(self, cached: np.ndarray) -> Tensor:
        if self._views is None:
            return _evaluation_frames(cached, self._config)
        return _multi_view_frames(cached, self._config, self._views)

    def _read(self, clip: CachedClip) -> np.ndarray:
        if self._cache is None:
            self._cache = ClipCache(self._cache_file)
        clip_id, frames = self._cache.read(clip.position)
        if clip_id != clip.clip_id:
            raise RuntimeError(
                f"{self._cache_file}: clip {clip.clip_id} expected at {clip.position}, "
                f"found {clip_id}"
            )
        return frames

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_cache": None}


def load_clip(path: Path, config: DataConfig) -> Tensor:
    """Any video file or image folder as a validation clip: uint8 (T, C, H, W).

    The same pixels as validation through the cache, so a deployed model sees what was measured.

    Raises:
        VideoError: the file is not usable.
    """
    return _evaluation_frames(
        decode_clip(path, None, None, CacheParameters.of(config)).frames, config
    )


def _multi_view_frames(cached: np.ndarray, config: DataConfig, views: Views) -> Tensor:
    """uint8 (V, T, C, H, W)."""
    shifts = (0.0,) if views.num_crops == 1 else (-1.0, 0.0, 1.0)
    return torch.stack(
        [
            _evaluation_frames(cached, config, view, views.num_temporal, shift)
            for view in range(views.num_temporal)
            for shift in shifts
        ]
    )


def _evaluation_frames(
    cached: np.ndarray, config: DataConfig, view: int = 0, num_views: int = 1, shift: float = 0.0
) -> Tensor:
    chosen = cached[uniform(len(cached), config.num_frames, view, num_views)]
    return evaluation_view(channels_first(torch.from_numpy(chosen)), config.image_size, shift)
