"""Packed clips as samples of a map-style dataset: frames, label, clip id."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from slrtune.config.data import DataConfig
from slrtune.data.augment import (
    Changes,
    PartChange,
    change_clips,
    evaluation_view,
    needed_part,
)
from slrtune.data.changes import draw_change
from slrtune.data.manifest import ClipRecord
from slrtune.data.pack.clip import decode_clip
from slrtune.data.pack.parameters import PackParameters
from slrtune.data.pack.reader import Pack, PackReader
from slrtune.data.pack.shard import PackedFrames
from slrtune.data.resize import channels_first
from slrtune.data.sampling import choose_training_frames, uniform
from slrtune.data.seeding import Purpose, random_stream
from slrtune.data.sharding import Key


class Sample(NamedTuple):
    """One clip: uint8 (T, C, H, W), label, and place in the manifest.

    With a ``change`` still to be made, the pictures are of any size; without, as the model sees
    them.
    """

    frames: Tensor
    label: int
    clip_id: int
    change: PartChange | None = None


class ClipPlace(NamedTuple):
    """Where a clip lies in the pack, and what it shows."""

    position: int
    clip_id: int
    label: int


class ClipDataset(Dataset[Sample]):
    """The usable clips of one split, in manifest order.

    Pickles cheaply: each process maps the pack's files for itself when it first reads of them, and
    the kernel keeps their pages once for all.
    """

    def __init__(
        self,
        pack: Pack,
        clips: tuple[ClipPlace, ...],
        config: DataConfig,
        *,
        is_training: bool,
        seed: int,
    ) -> None:
        self.clips = clips
        self.is_training = is_training
        self._reader = PackReader(pack)
        self._config = config
        self._seed = seed

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, key: int | Key) -> Sample:
        """The sample of a key, changed already; a bare index means its first time in epoch 0.

        The epoch travels in the key because persistent loader processes hold their own copy of
        the dataset. A training sample depends on seed, clip id, epoch and how often the epoch has
        had it before, and on nothing else.
        """
        sample = self.drawn(key)
        if sample.change is None:
            return sample
        frames, changes = sample.frames.unsqueeze(0), Changes((sample.change,))
        view = change_clips(frames, changes, self._config.image_size)[0]
        return Sample(view, sample.label, sample.clip_id)

    def __getitems__(self, keys: Sequence[int | Key]) -> list[Sample]:
        """The samples of a batch, read in the order in which they lie on the disk.

        Their changes are drawn, and left to `change_clips`, which makes them for the whole batch.
        """
        samples: dict[int, Sample] = {}
        for place in sorted(range(len(keys)), key=lambda place: self._position(keys[place])):
            samples[place] = self.drawn(keys[place])
        return [samples[place] for place in range(len(keys))]

    def drawn(self, key: int | Key) -> Sample:
        """The sample of a key, with its change still to be made."""
        epoch, index, repeat = key if isinstance(key, tuple) else (0, key, 0)
        clip, packed = self.clips[index], self.packed_frames(index)
        if not self.is_training:
            return Sample(_evaluation_frames(packed, self._config), clip.label, clip.clip_id)
        rng = sample_stream(self._seed, epoch, clip.clip_id, repeat)
        config = self._config
        chosen = training_frames(len(packed), config, rng)
        frames = channels_first(torch.from_numpy(packed[chosen]))
        change = draw_change(config.augmentation, rng)
        part, part_change = needed_part(frames, config.image_size, change)
        return Sample(part, clip.label, clip.clip_id, part_change)

    def packed_frames(self, index: int) -> PackedFrames:
        """All packed frames of a clip: indexable uint8 (T', H', W', 3), mapped and read-only."""
        clip = self.clips[index]
        clip_id, frames = self._reader.read(clip.position)
        if clip_id != clip.clip_id:
            raise RuntimeError(
                f"{self._reader.pack.folder}: clip {clip.clip_id} expected at {clip.position}, "
                f"found {clip_id}"
            )
        return frames

    def _position(self, key: int | Key) -> int:
        return self.clips[key[1] if isinstance(key, tuple) else key].position


class WholeClipDataset(Dataset[tuple[int, Tensor]]):
    """Every packed frame of each clip as validation sees it: clip id, uint8 (T', C, H, W)."""

    def __init__(self, clips: ClipDataset, image_size: int) -> None:
        self._clips = clips
        self._image_size = image_size

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, index: int) -> tuple[int, Tensor]:
        packed = self._clips.packed_frames(index)
        pixels = channels_first(torch.from_numpy(packed[np.arange(len(packed))]))
        view = evaluation_view(pixels, self._image_size)
        return self._clips.clips[index].clip_id, view


def sample_stream(seed: int, epoch: int, clip_id: int, repeat: int) -> np.random.Generator:
    """What a training sample draws from; a clip that comes again in an epoch draws anew."""
    return random_stream(Purpose.SAMPLE, seed, epoch, clip_id, *([repeat] if repeat else []))


def training_frames(num_packed: int, config: DataConfig, rng: np.random.Generator) -> np.ndarray:
    """Which of a clip's packed frames a training sample shows: int64 (T,)."""
    return choose_training_frames(num_packed, config, rng)


def load_clip(path: Path, config: DataConfig) -> Tensor:
    """Any video file or image folder as a validation clip: uint8 (T, C, H, W).

    The same pixels as validation through a pack, so a deployed model sees what was measured.

    Raises:
        VideoError: the file is not usable.
    """
    record = ClipRecord(path.name, gloss="", split="")
    clip = decode_clip(path.parent, record, PackParameters.of(config)).clip
    return _evaluation_frames(clip.frames, config)


def _evaluation_frames(packed: PackedFrames, config: DataConfig) -> Tensor:
    chosen = packed[uniform(len(packed), config.num_frames)]
    return evaluation_view(channels_first(torch.from_numpy(chosen)), config.image_size)
