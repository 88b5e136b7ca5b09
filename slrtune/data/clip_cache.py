"""Decoded, resized clips in one Arrow IPC file, one clip per record batch, mapped into memory.

The file says how it was made: its schema's metadata holds the version and the parameters. Raw
frames cost disk but no decoding: a clip is read about 25 times as fast as from its MP4.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from types import TracebackType

import numpy as np
import pyarrow as pa
import torch

from slrtune.config.data import DataConfig
from slrtune.data.manifest import FOUND, OK, UNREADABLE, ClipRecord
from slrtune.data.resize import channels_first, channels_last, resize_short_side
from slrtune.data.sampling import thin
from slrtune.data.video import VideoError, VideoInfo, probe, read
from slrtune.data.window import clip_window, status_of
from slrtune.data.workers import WorkerCrash, map_crash_proof

CACHE_VERSION = 1
_FIELDS = [
    ("clip_id", pa.int64()),
    ("num_frames", pa.int32()),
    ("height", pa.int32()),
    ("width", pa.int32()),
    ("frames", pa.large_binary()),
]


@dataclass(frozen=True)
class CacheParameters:
    """What decides the cached pixels. Every frame is uint8 RGB, T' frames of H' x W'.

    Attributes:
        size_px: short side of the cached frames; the aspect ratio is kept.
        max_frames: longer clips are thinned evenly to this many frames.
    """

    size_px: int
    max_frames: int
    version: int = CACHE_VERSION

    @classmethod
    def of(cls, config: DataConfig) -> CacheParameters:
        """The parameters that ``config`` asks for."""
        size_px = config.cache_size_px or round(1.15 * config.image_size)
        return cls(size_px=size_px, max_frames=config.cache_max_frames)


@dataclass(frozen=True)
class DecodedClip:
    """A clip as the cache keeps it: facts of its file and uint8 (T', H', W', 3)."""

    info: VideoInfo
    frames: np.ndarray


def decode_clip(
    path: Path, start: int | None, end: int | None, parameters: CacheParameters
) -> DecodedClip:
    """Decode the frames [start, end) of a file, thinned and resized.

    Raises:
        VideoError: the file is not usable, or the clip too short or not in it.
    """

    def choose(num_frames: int) -> Sequence[int]:
        return thin(*clip_window(start, end, num_frames), parameters.max_frames).tolist()

    info, frames = read(path, choose)
    resized = resize_short_side(channels_first(torch.from_numpy(frames)), parameters.size_px)
    return DecodedClip(info, channels_last(resized).numpy())


def build_clip_cache(
    path: Path,
    root: Path,
    records: Sequence[ClipRecord],
    parameters: CacheParameters,
    num_workers: int,
    on_clip: Callable[[int, int], None],
) -> list[ClipRecord]:
    """Decode every found clip into the Arrow file ``path``; give the records with their outcome.

    A clip that cannot be decoded, or whose decoding kills the process, is marked and left out.

    Args:
        on_clip: told (done, total) after every clip.
    """
    outcome = list(records)
    clip_ids = [clip_id for clip_id, record in enumerate(records) if record.status == FOUND]
    attempts = map_crash_proof(
        partial(_attempt, root, parameters), [records[i] for i in clip_ids], num_workers
    )
    with ClipCacheWriter(path, parameters) as writer:
        for done, (clip_id, attempt) in enumerate(zip(clip_ids, attempts, strict=True), start=1):
            if isinstance(attempt, WorkerCrash):
                outcome[clip_id] = replace(
                    records[clip_id], status=UNREADABLE, reason="decoder crashed"
                )
            else:
                outcome[clip_id], frames = attempt
                if frames is not None:
                    writer.write(clip_id, frames)
            on_clip(done, len(clip_ids))
    return outcome


def _attempt(
    root: Path, parameters: CacheParameters, record: ClipRecord
) -> tuple[ClipRecord, np.ndarray | None]:
    try:
        path = root / record.path
        in_seconds = record.start_s is not None or record.end_s is not None
        window = record.frame_window(probe(path).fps if in_seconds else None)
        clip = decode_clip(path, *window, parameters)
    except VideoError as error:
        return replace(record, status=status_of(error), reason=error.reason), None
    return replace(record, status=OK, **asdict(clip.info)), clip.frames


class ClipCacheWriter:
    """Writes clips one by one; the file is whole once the writer is closed."""

    def __init__(self, path: Path, parameters: CacheParameters) -> None:
        metadata = {"slrtune_clip_cache": json.dumps(asdict(parameters))}
        self._schema = pa.schema(_FIELDS, metadata=metadata)
        self._file = path.open("wb")
        self._writer = pa.ipc.new_file(self._file, self._schema)

    def __enter__(self) -> ClipCacheWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._file:
            if kind is None:
                self._writer.close()
                self._file.flush()
                os.fsync(self._file.fileno())

    def write(self, clip_id: int, frames: np.ndarray) -> None:
        """Append uint8 (T', H', W', 3)."""
        num_frames, height, width, _ = frames.shape
        offsets = pa.py_buffer(np.array([0, frames.nbytes], np.int64))
        pixels = pa.py_buffer(np.ascontiguousarray(frames))
        column = pa.Array.from_buffers(pa.large_binary(), 1, [None, offsets, pixels])
        numbers = [
            pa.array([number], field.type)
            for number, field in zip(
                (clip_id, num_frames, height, width), self._schema, strict=False
            )
        ]
        self._writer.write_batch(pa.record_batch([*numbers, column], schema=self._schema))


class ClipCache:
    """Reads clips without copying. Opened by the process that uses it; does not pickle."""

    def __init__(self, path: Path) -> None:
        self._reader = pa.ipc.open_file(pa.memory_map(str(path)))
        metadata = self._reader.schema.metadata[b"slrtune_clip_cache"]
        self.parameters = CacheParameters(**json.loads(metadata))

    def __len__(self) -> int:
        return int(self._reader.num_record_batches)

    def read(self, position: int) -> tuple[int, np.ndarray]:
        """Clip id and frames of the clip at ``position`` in the file: uint8 (T', H', W', 3).

        The array is the mapped file itself and read-only: index it into a copy before use.
        """
        batch = self._reader.get_batch(position)
        clip_id, *shape = (batch.column(i)[0].as_py() for i in range(4))
        pixels = np.frombuffer(batch.column(4).buffers()[2], np.uint8)
        return clip_id, pixels.reshape(*shape, 3)
