"""Cached clips as samples of a map-style dataset: frames, label, clip id."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from slrtune.config.data import DataConfig
from slrtune.data.augment import evaluation_view, training_view
from slrtune.data.clip_cache import CacheParameters, ClipCache, decode_clip
from slrtune.data.resize import channels_first
from slrtune.data.sampling import choose_training_frames, uniform
from slrtune.data.seeding import Purpose, random_stream
from slrtune.data.sharding import Key


class Sample(NamedTuple):
    """One clip as the model sees it: uint8 (T, C, H, W), label, and place in the manifest."""

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
    ) -> None:
        self.clips = clips
        self.is_training = is_training
        self._cache_file = cache_file
        self._config = config
        self._seed = seed
        self._cache: ClipCache | None = None

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, key: int | Key) -> Sample:
        """The sample of a key; a bare index means its first time in epoch 0.

        The epoch travels in the key because persistent loader processes hold their own copy of
        the dataset. A training sample depends on seed, clip id, epoch and how often the epoch has
        had it before, and on nothing else.
        """
        epoch, index, repeat = key if isinstance(key, tuple) else (0, key, 0)
        clip, cached = self.clips[index], self.cached_frames(index)
        if not self.is_training:
            return Sample(_evaluation_frames(cached, self._config), clip.label, clip.clip_id)
        rng = sample_stream(self._seed, epoch, clip.clip_id, repeat)
        config = self._config
        chosen = training_frames(len(cached), config, rng)
        frames = channels_first(torch.from_numpy(cached[chosen]))
        view = training_view(frames, config.image_size, config.augmentation, rng)
        return Sample(view, clip.label, clip.clip_id)

    def cached_frames(self, index: int) -> np.ndarray:
        """All cached frames of a clip: uint8 (T', H', W', 3), mapped and read-only."""
        clip = self.clips[index]
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


class WholeClipDataset(Dataset[tuple[int, Tensor]]):
    """Every cached frame of each clip as validation sees it: clip id, uint8 (T', C, H, W)."""

    def __init__(self, clips: ClipDataset, image_size: int) -> None:
        self._clips = clips
        self._image_size = image_size

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, index: int) -> tuple[int, Tensor]:
        cached = torch.from_numpy(self._clips.cached_frames(index).copy())
        view = evaluation_view(channels_first(cached), self._image_size)
        return self._clips.clips[index].clip_id, view


def sample_stream(seed: int, epoch: int, clip_id: int, repeat: int) -> np.random.Generator:
    """What a training sample draws from; a clip that comes again in an epoch draws anew."""
    return random_stream(Purpose.SAMPLE, seed, epoch, clip_id, *([repeat] if repeat else []))


def training_frames(num_cached: int, config: DataConfig, rng: np.random.Generator) -> np.ndarray:
    """Which of a clip's cached frames a training sample shows: int64 (T,)."""
    return choose_training_frames(num_cached, config, rng)


def load_clip(path: Path, config: DataConfig) -> Tensor:
    """Any video file or image folder as a validation clip: uint8 (T, C, H, W).

    The same pixels as validation through the cache, so a deployed model sees what was measured.

    Raises:
        VideoError: the file is not usable.
    """
    return _evaluation_frames(
        decode_clip(path, None, None, CacheParameters.of(config)).frames, config
    )


def _evaluation_frames(cached: np.ndarray, config: DataConfig) -> Tensor:
    chosen = cached[uniform(len(cached), config.num_frames)]
    return evaluation_view(channels_first(torch.from_numpy(chosen)), config.image_size)
