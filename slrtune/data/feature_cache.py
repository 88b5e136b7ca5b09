"""Features of every packed frame, computed once by a frozen encoder: Arrow files of bounded size.

    cache_dir/features/<key>.arrow          one clip per record batch, mapped into memory
                       <key>.arrow.in_use   held (shared) by every process that uses the file
                       .lock                held by the one process that builds a file

A file is built as <key>.partial and renamed when whole. Files that nobody uses make room for new
ones, the least recently used (by modification time) first.

Shapes: T' packed frames of a clip, T frames of a sample, F features.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor
from torch.utils.data import Dataset

from slrtune.config.data import DataConfig
from slrtune.config.errors import UserError
from slrtune.data.dataset import ClipPlace, Sample, sample_stream, training_frames
from slrtune.data.disk_bound import BYTES_PER_GIB, locked, make_room, use
from slrtune.data.sampling import uniform
from slrtune.data.sharding import Key

_BYTES_PER_BATCH = 1024  # of an Arrow file beside the features, rounded up
_METADATA = b"slrtune_features"
_FIELDS = [("clip_id", pa.int64()), ("features", pa.large_binary())]


@dataclass(frozen=True)
class FeatureFile:
    """A feature file in use: it is not removed while this object (or its process) lives."""

    path: Path
    _lock: TextIO

    def close(self) -> None:
        """Let others remove the file."""
        self._lock.close()


class FeatureStore:
    """The feature files of a folder, at most ``max_gib`` of them together."""

    def __init__(self, folder: Path, max_gib: float) -> None:
        self._folder = folder
        self._max_gib = max_gib

    def open(self, key: str, num_bytes: int, build: Callable[[Path], None]) -> FeatureFile:
        """The file of ``key``, which ``build`` writes if it is not there yet.

        Several processes may call it: one builds, the others wait for it.

        Args:
            key: changes with everything that decides the content.
            num_bytes: what the file will need.

        Raises:
            UserError: it does not fit ``max_gib``.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{key}.arrow"
        while True:
            lock = use(path)
            if lock is not None:
                return FeatureFile(path, lock)
            with locked(self._folder / ".lock"):
                if path.exists():
                    continue
                self._make_room(num_bytes)
                partial = path.with_suffix(".partial")
                build(partial)
                partial.rename(path)

    def _make_room(self, num_bytes: int) -> None:
        """Remove files until ``num_bytes`` fit; the caller is the only one that builds."""
        for partial in self._folder.glob("*.partial"):
            partial.unlink()  # of a builder that died
        allowed = int(self._max_gib * BYTES_PER_GIB)
        used = make_room(self._folder.glob("*.arrow"), num_bytes, allowed)
        if used + num_bytes > allowed:
            in_use = f" beside {used / BYTES_PER_GIB:.2g} GiB that are in use" if used else ""
            raise UserError(
                f"data.cache_size_gib: must hold the features of the clips, but "
                f"{num_bytes / BYTES_PER_GIB:.2g} GiB do not fit into {self._max_gib:g} GiB"
                f"{in_use}; raise it, lower data.pack_max_frames, or set "
                "training.cache_features to false"
            )


def feature_file_bytes(num_frames: Iterable[int], bytes_per_frame: int) -> int:
    """Size of a feature file, rounded up.

    Args:
        num_frames: T' of each clip.
        bytes_per_frame: F times the bytes of a feature.
    """
    return sum(frames * bytes_per_frame + _BYTES_PER_BATCH for frames in num_frames)


def write_features(
    path: Path, dtype: torch.dtype, num_features: int, clips: Iterable[tuple[int, Tensor]]
) -> None:
    """Write (clip id, (T', F) tensor of ``dtype``) pairs; the file is safe on the disk at the end.

    The bytes are stored as they are: bfloat16 has no Arrow type.
    """
    metadata = {"dtype": str(dtype).removeprefix("torch."), "num_features": num_features}
    schema = pa.schema(_FIELDS, metadata={_METADATA: json.dumps(metadata)})
    with path.open("wb") as file:
        with pa.ipc.new_file(file, schema) as writer:
            for clip_id, features in clips:
                rows = features.cpu().contiguous().view(torch.uint8).numpy()
                buffers = [None, pa.py_buffer(np.array([0, rows.nbytes])), pa.py_buffer(rows)]
                column = pa.Array.from_buffers(pa.large_binary(), 1, buffers)
                ids = pa.array([clip_id], pa.int64())
                writer.write_batch(pa.record_batch([ids, column], schema=schema))
        file.flush()
        os.fsync(file.fileno())


class FeatureReader:
    """Reads features of chosen frames. Opened by the process that uses it; does not pickle."""

    def __init__(self, path: Path) -> None:
        self._reader = pa.ipc.open_file(pa.memory_map(str(path)))
        metadata = json.loads(self._reader.schema.metadata[_METADATA])
        self._dtype: torch.dtype = getattr(torch, metadata["dtype"])
        self._row_bytes = metadata["num_features"] * self._dtype.itemsize
        batches = (self._reader.get_batch(i) for i in range(self._reader.num_record_batches))
        self._positions = {batch.column(0)[0].as_py(): i for i, batch in enumerate(batches)}

    def read(self, clip_id: int, choose: Callable[[int], np.ndarray]) -> Tensor:
        """A copy of a clip's features (T, F) at the frames that ``choose`` picks of its T'."""
        column = self._reader.get_batch(self._positions[clip_id]).column(1)
        rows = np.frombuffer(column.buffers()[2], np.uint8).reshape(-1, self._row_bytes)
        return torch.from_numpy(rows[choose(len(rows))]).view(self._dtype)


class FeatureDataset(Dataset[Sample]):
    """As `ClipDataset`, with the features (T, F) of the same frames in place of their pixels.

    A training sample draws its frames as there, and nothing else: its pixels were not augmented.
    """

    def __init__(
        self,
        path: Path,
        clips: tuple[ClipPlace, ...],
        config: DataConfig,
        *,
        is_training: bool,
        seed: int,
    ) -> None:
        self.clips = clips
        self.is_training = is_training
        self._path = path
        self._config = config
        self._seed = seed
        self._reader: FeatureReader | None = None

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, key: int | Key) -> Sample:
        """The sample of a key, see :meth:`ClipDataset.__getitem__`."""
        epoch, index, repeat = key if isinstance(key, tuple) else (0, key, 0)
        clip, config = self.clips[index], self._config

        def choose(num_packed: int) -> np.ndarray:
            if not self.is_training:
                return uniform(num_packed, config.num_frames)
            rng = sample_stream(self._seed, epoch, clip.clip_id, repeat)
            return training_frames(num_packed, config, rng)

        if self._reader is None:
            self._reader = FeatureReader(self._path)
        return Sample(self._reader.read(clip.clip_id, choose), clip.label, clip.clip_id)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_reader": None}
