"""A folder on this machine's disks, on NFS or in an object store; its files are whole or not there.

Everything goes through pyarrow.fs, so ``/disk/pack``, ``file:///disk/pack``, ``s3://bucket/pack``
and ``gs://bucket/pack`` are one piece of code.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pyarrow as pa
from pyarrow import fs

from slrtune.config.errors import UserError

_URI_CHARACTERS = ":/?&=%@+,;~!$'()*#[]"
"""Everything else, such as blanks and letters of other scripts, is escaped."""
_BUFFER_BYTES = 2**20
# Whose files appear whole, once all has arrived.
_OBJECT_STORES = ("s3", "gcs", "abfs")


@dataclass(frozen=True)
class FileFacts:
    """Bytes of a file, and when it was last put in place."""

    size: int
    mtime_ns: int


class Folder:
    """Files by their names relative to ``uri``. Pickles as its address."""

    def __init__(self, uri: str | Path) -> None:
        text = str(uri)
        # Absolute at once: a process of another working folder may write into it.
        self.uri = text if "://" in text else str(Path(text).expanduser().absolute())

    def __getstate__(self) -> dict[str, str]:
        return {"uri": self.uri}

    @property
    def local(self) -> Path | None:
        """The folder as a path of this machine; None for an object store."""
        is_local = isinstance(self._place[0], fs.LocalFileSystem)
        return Path(self._place[1]) if is_local else None

    @cached_property
    def _place(self) -> tuple[fs.FileSystem, str]:
        if "://" not in self.uri:
            return fs.LocalFileSystem(), self.uri
        try:
            filesystem, base = fs.FileSystem.from_uri(quote(self.uri, safe=_URI_CHARACTERS))
        except (pa.ArrowInvalid, OSError) as error:
            raise UserError(
                f"{self.uri}: must be a folder, or an address that Arrow knows such as "
                f"s3://bucket/pack, but {error}"
            ) from None
        return filesystem, base.rstrip("/")

    def sizes(self, subfolder: str) -> dict[str, int]:
        """Bytes of every file below ``subfolder``, by name; empty where there is none."""
        return {name: facts.size for name, facts in self.files(subfolder).items()}

    def files(self, subfolder: str = "") -> dict[str, FileFacts]:
        """Every file below ``subfolder``, by name; empty where there is none."""
        filesystem, base = self._place
        below = f"{base}/{subfolder}".rstrip("/")
        selector = fs.FileSelector(below, recursive=True, allow_not_found=True)
        return self._named(filesystem.get_file_info(selector))

    def find(self, names: Iterable[str]) -> dict[str, FileFacts]:
        """Those of the named files that there are."""
        filesystem, base = self._place
        return self._named(filesystem.get_file_info([f"{base}/{name}" for name in names]))

    def folders(self) -> list[str]:
        """Names of the folders that lie directly in it.

        Raises:
            OSError: there is not even the bucket.
        """
        filesystem, base = self._place
        bucket = base.split("/")[0] or "/"
        if filesystem.get_file_info(bucket).type == fs.FileType.NotFound:
            raise OSError(f"there is no {bucket}")
        found = filesystem.get_file_info(fs.FileSelector(base, allow_not_found=True))
        return sorted(info.base_name for info in found if info.type == fs.FileType.Directory)

    def _named(self, found: Iterable[Any]) -> dict[str, FileFacts]:
        start = f"{self._place[1]}/"
        return {
            info.path.removeprefix(start): FileFacts(info.size, info.mtime_ns)
            for info in found
            if info.type == fs.FileType.File
        }

    def read(self, name: str) -> bytes | None:
        """All of a file; None where there is none."""
        filesystem, base = self._place
        try:
            with filesystem.open_input_stream(f"{base}/{name}") as stream:
                return bytes(stream.read())
        except (FileNotFoundError, NotADirectoryError):
            return None

    def write(self, name: str, content: bytes) -> None:
        """Write or replace a file."""
        filesystem, base = self._place
        if filesystem.type_name in _OBJECT_STORES:
            with filesystem.open_output_stream(f"{base}/{name}") as stream:
                stream.write(content)
            return
        with self.writing(name) as sink:
            sink.write(content)

    @contextmanager
    def writing(self, name: str) -> Iterator[HashingSink]:
        """A sink whose file gets its name, and is safe on the disk, once the block has ended."""
        filesystem, base = self._place
        partial = f"{base}/{name}.{uuid4().hex[:8]}.partial"
        filesystem.create_dir(os.path.dirname(partial), recursive=True)  # noqa: PTH120
        try:
            with filesystem.open_output_stream(partial) as stream:
                sink = HashingSink(stream)
                yield sink
            if self.local is not None:
                _sync(Path(partial))
            filesystem.move(partial, f"{base}/{name}")
        except BaseException:
            if filesystem.get_file_info(partial).type == fs.FileType.File:
                filesystem.delete_file(partial)
            raise

    def delete(self, name: str) -> None:
        """Remove a file; somebody else may have been quicker."""
        filesystem, base = self._place
        with suppress(FileNotFoundError):
            filesystem.delete_file(f"{base}/{name}")

    def delete_subfolder(self, name: str) -> None:
        """Remove a folder with all that is in it."""
        filesystem, base = self._place
        with suppress(FileNotFoundError):
            filesystem.delete_dir(f"{base}/{name}")

    def put(self, name: str, source: Path) -> None:
        """Copy a file of this machine here; it is the old or the new at every moment."""
        filesystem, base = self._place
        if filesystem.type_name not in _OBJECT_STORES:
            with self.writing(name) as sink, source.open("rb") as file:
                shutil.copyfileobj(file, sink, _BUFFER_BYTES)
            return
        size = source.stat().st_size
        fs.copy_files(
            str(source),
            f"{base}/{name}",
            source_filesystem=fs.LocalFileSystem(),
            destination_filesystem=filesystem,
        )
        # Arrow ends an upload in good order even where reading the source has failed.
        arrived = filesystem.get_file_info(f"{base}/{name}").size
        if arrived is None or arrived < size:
            raise OSError(f"{arrived} of {size} bytes of {name} have arrived")

    def copy(self, name: str, other: str) -> None:
        """Copy a file within the folder."""
        filesystem, base = self._place
        filesystem.copy_file(f"{base}/{name}", f"{base}/{other}")

    def fetch(self, name: str, target: Path) -> None:
        """Copy a file to this machine."""
        filesystem, base = self._place
        fs.copy_files(
            f"{base}/{name}",
            str(target),
            source_filesystem=filesystem,
            destination_filesystem=fs.LocalFileSystem(),
        )


class HashingSink(io.RawIOBase):
    """Hands bytes on and keeps their checksum."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._digest = hashlib.sha256()
        self.num_bytes = 0

    @property
    def sha256(self) -> str:
        """Of everything written so far."""
        return self._digest.hexdigest()

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, content: Any) -> int:
        """Write all of ``content``."""
        self._digest.update(content)
        self._stream.write(content)
        size = memoryview(content).nbytes
        self.num_bytes += size
        return size


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
