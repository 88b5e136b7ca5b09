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
from slrtune.data.changes import Change, draw_change
from slrtune.data.keypoints import PackedPicture, keypoints_in_view
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
    them. ``keypoints``, where they are wanted, are always as the model sees them: (T, K, 2).
    """

    frames: Tensor
    label: int
    clip_id: int
    change: PartChange | None = None
    keypoints: Tensor | None = None


class ClipPlace(NamedTuple):
    """Where a clip lies in the pack, what it shows, and width and height of its video."""

    position: int
    clip_id: int
    label: int
    video_px: tuple[int, int] = (0, 0)


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
        num_keypoints: int = 0,
    ) -> None:
        """
        Args:
            num_keypoints: K, of every clip that has any; 0 = samples without landmarks.
        """
        self.clips = clips
        self.is_training = is_training
        self._reader = PackReader(pack)
        self._config = config
        self._seed = seed
        self._num_keypoints = num_keypoints

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
        return sample._replace(frames=view, change=None)

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
        config = self._config
        if not self.is_training:
            chosen = uniform(len(packed), config.num_frames)
            frames = channels_first(torch.from_numpy(packed[chosen]))
            view = evaluation_view(frames, config.image_size)
            points = self._keypoints(clip, chosen, frames, Change())
            return Sample(view, clip.label, clip.clip_id, keypoints=points)
        rng = sample_stream(self._seed, epoch, clip.clip_id, repeat)
        chosen = training_frames(len(packed), config, rng)
        frames = channels_first(torch.from_numpy(packed[chosen]))
        change = draw_change(config.augmentation, rng)
        part, part_change = needed_part(frames, config.image_size, change)
        points = self._keypoints(clip, chosen, frames, change)
        return Sample(part, clip.label, clip.clip_id, part_change, points)

    def keypoints_shape(self, index: int) -> tuple[int, ...] | None:
        """(T', K, D) of a clip's packed landmarks; None where it has none."""
        points = self._reader.keypoints(self.clips[index].position)[1]
        return None if points is None else points.shape

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

    def _keypoints(
        self, clip: ClipPlace, chosen: np.ndarray, frames: Tensor, change: Change
    ) -> Tensor | None:
        """(T, K, 2) in the view; all NaN for a clip without landmarks."""
        if not self._num_keypoints:
            return None
        crop, points = self._reader.keypoints(clip.position)
        if points is None:
            return torch.full((len(chosen), self._num_keypoints, 2), torch.nan)
        height, width = frames.shape[-2:]
        picture = PackedPicture(clip.video_px, crop, height, width)
        return keypoints_in_view(points[chosen], picture, change, self._config)

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
    packed = decode_clip(path.parent, record, PackParameters.of(config)).clip.frames
    chosen = packed[uniform(len(packed), config.num_frames)]
    return evaluation_view(channels_first(torch.from_numpy(chosen)), config.image_size)
