"""One file of a pack: an Arrow IPC file with one clip per record batch.

The file says what it is: its schema's metadata holds the parameters, so it can be read without the
rest of the pack by any Arrow implementation.

Shapes: T' packed frames of H' x W' pixels, K landmarks of D numbers.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from slrtune.config.errors import UserError
from slrtune.config.storage import Folder, HashingSink
from slrtune.data.pack.parameters import PackParameters

_METADATA = b"slrtune_pack"
_CLIP_ID, _SHAPE, _KEYPOINTS, _KEYPOINTS_SHAPE, _FRAMES = 0, 1, 4, 5, 6
_FIELDS = [
    ("clip_id", pa.int64()),
    ("shape", pa.list_(pa.int32())),  # T', H', W'
    ("source_frames", pa.list_(pa.int32())),  # numbers of the packed frames in the file, from 0
    ("crop", pa.list_(pa.int32())),  # left, top, right, bottom in pixels of the file's picture
    ("keypoints", pa.large_binary()),  # float32, or null
    ("keypoints_shape", pa.list_(pa.int32())),  # T', K, D
]
_FRAMES_TYPE = {
    "raw": pa.large_binary(),  # uint8 RGB, (T', H', W', 3)
    "jpeg": pa.list_(pa.large_binary()),  # one JPEG file per frame
}


@dataclass(frozen=True)
class PackedClip:
    """What a pack keeps of a clip.

    Attributes:
        frames: uint8 (T', H', W', 3).
        source_frames: int32 (T',): which frames of the file these are.
        crop: left, top, right, bottom in pixels of the file's picture, before the resize.
        keypoints: float32 (T', K, D) as the data give them; None without.
    """

    frames: np.ndarray
    source_frames: np.ndarray
    crop: tuple[int, int, int, int]
    keypoints: np.ndarray | None = None


class JpegFrames:
    """Packed JPEG pictures that are decoded when they are asked for; indexes like the raw array."""

    def __init__(self, pictures: pa.LargeBinaryArray) -> None:
        self._pictures = pictures

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        """uint8 (T, H', W', 3) of the chosen frames; a repeated one is decoded once."""
        unique, places = np.unique(indices, return_inverse=True)
        decoded = np.stack([_from_jpeg(self._pictures[int(i)]) for i in unique])
        return decoded if len(unique) == len(places) else decoded[places]


PackedFrames = np.ndarray | JpegFrames
"""Indexed with an array of frame numbers, either gives a new uint8 (T, H', W', 3)."""


class ShardWriter:
    """Writes clips one after the other."""

    def __init__(self, sink: HashingSink, parameters: PackParameters) -> None:
        fields = [*_FIELDS, ("frames", _FRAMES_TYPE[parameters.storage])]
        # sort_keys: the bytes must not depend on the order of a class's fields
        described = json.dumps(asdict(parameters), sort_keys=True)
        self._schema = pa.schema(fields, metadata={_METADATA: described})
        self._parameters = parameters
        self._writer = pa.ipc.new_file(sink, self._schema)

    def write(self, clip_id: int, clip: PackedClip) -> None:
        """Append a clip."""
        points = clip.keypoints
        columns = [
            pa.array([clip_id], pa.int64()),
            _list(clip.frames.shape[:3]),
            _list(clip.source_frames),
            _list(clip.crop),
            pa.array([None if points is None else points.tobytes()], pa.large_binary()),
            _list(None if points is None else points.shape),
            self._frames_column(clip.frames),
        ]
        self._writer.write_batch(pa.record_batch(columns, schema=self._schema))

    def close(self) -> None:
        """End the file."""
        self._writer.close()

    def _frames_column(self, frames: np.ndarray) -> pa.Array:
        if self._parameters.storage == "jpeg":
            assert self._parameters.jpeg_quality is not None
            pictures = [_to_jpeg(frame, self._parameters.jpeg_quality) for frame in frames]
            return pa.array([pictures], _FRAMES_TYPE["jpeg"])
        # from buffers: the pixels are written from where they lie
        offsets = pa.py_buffer(np.array([0, frames.nbytes], np.int64))
        pixels = pa.py_buffer(np.ascontiguousarray(frames))
        return pa.Array.from_buffers(pa.large_binary(), 1, [None, offsets, pixels])


@contextmanager
def writing_shard(
    folder: Folder, name: str, parameters: PackParameters
) -> Iterator[tuple[ShardWriter, HashingSink]]:
    """A writer whose file appears, whole, once the block has ended without an error."""
    with folder.writing(name) as sink:
        writer = ShardWriter(sink, parameters)
        yield writer, sink
        writer.close()


class Shard:
    """Reads clips from the mapped file without copying. Does not pickle.

    Raises:
        UserError: the file is not there or damaged.
    """

    def __init__(self, path: Path) -> None:
        try:
            mapped = pa.memory_map(str(path))
            self._bytes = np.frombuffer(mapped.read_buffer(), np.uint8)
            self._reader = pa.ipc.open_file(mapped)
            described = json.loads(self._reader.schema.metadata[_METADATA])
        except (pa.ArrowInvalid, OSError, KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{path}: must be a file of a pack, but {error}; `slrtune data verify` names every "
                "damaged file: remove them and pack.json, and pack again with `slrtune data pack`"
            ) from error
        self.parameters = PackParameters(**described)
        self._raw_places: dict[int, tuple[int, int, tuple[int, ...]]] = {}

    def __len__(self) -> int:
        return int(self._reader.num_record_batches)

    def read(self, index: int) -> tuple[int, PackedFrames]:
        """Clip id and frames of a clip. Raw frames are the mapped file itself and read-only."""
        if self.parameters.storage == "jpeg":
            batch = self._reader.get_batch(index)
            return _clip_id(batch), JpegFrames(batch.column(_FRAMES).values)
        # Arrow reads a batch's header in the time that the copy of a clip takes: once is enough.
        if index not in self._raw_places:
            self._raw_places[index] = self._raw_place(index)
        clip_id, start, shape = self._raw_places[index]
        return clip_id, self._bytes[start : start + math.prod(shape)].reshape(shape)

    def _raw_place(self, index: int) -> tuple[int, int, tuple[int, ...]]:
        """Clip id, offset of the frames in the file and their shape."""
        batch = self._reader.get_batch(index)
        pixels = batch.column(_FRAMES).buffers()[2]
        shape = (*_numbers(batch.column(_SHAPE).values, np.int32).tolist(), 3)
        return _clip_id(batch), pixels.address - self._bytes.ctypes.data, shape

    def clip(self, index: int) -> tuple[int, PackedClip]:
        """Clip id and everything that is packed of a clip."""
        batch = self._reader.get_batch(index)
        clip_id, frames = self.read(index)
        source_frames = _numbers(batch.column(2).values, np.int32)
        every = np.arange(len(frames))
        return clip_id, PackedClip(frames[every], source_frames, *self.keypoints(index))

    def keypoints(self, index: int) -> tuple[tuple[int, int, int, int], np.ndarray | None]:
        """What part of the video is packed, in its pixels, and landmarks float32 (T', K, D): the
        mapped file itself and read-only; None for a clip without."""
        batch = self._reader.get_batch(index)
        left, top, right, bottom = _numbers(batch.column(3).values, np.int32).tolist()
        points = batch.column(_KEYPOINTS)[0].as_buffer()
        if points is not None:
            shape = _numbers(batch.column(_KEYPOINTS_SHAPE).values, np.int32)
            points = np.frombuffer(points, np.float32).reshape(shape)
        return (left, top, right, bottom), points


def _clip_id(batch: pa.RecordBatch) -> int:
    return int(_numbers(batch.column(_CLIP_ID), np.int64)[0])


def _list(numbers: object) -> pa.Array:
    values = None if numbers is None else np.asarray(numbers, np.int32)
    return pa.array([values], pa.list_(pa.int32()))


def _numbers(column: pa.Array, dtype: type) -> np.ndarray:
    """The numbers of a column without nulls, without making Python objects of them."""
    values: np.ndarray = np.frombuffer(column.buffers()[1], dtype)
    return values[column.offset : column.offset + len(column)]


def _to_jpeg(frame: np.ndarray, quality: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def _from_jpeg(picture: pa.LargeBinaryScalar) -> np.ndarray:
    with Image.open(io.BytesIO(picture.as_buffer())) as image:
        return np.asarray(image.convert("RGB"))
