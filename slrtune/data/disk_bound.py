"""Folders of files that can be made again, kept below a size: the least recently used go first.

Every process that uses an entry holds a shared lock on its lock file, so nothing that is in use is
removed, however many sweeps share the folder.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

BYTES_PER_GIB = 2**30


@contextmanager
def locked(lock_file: Path) -> Iterator[None]:
    """One process at a time, of all that share the disk."""
    with lock_file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # released by the kernel if this process dies
        yield


def use(entry: Path) -> TextIO | None:
    """Keep ``entry`` (file or folder) from being removed until the result is closed.

    None if it is not there (any more).
    """
    lock = _lock_file(entry).open("w")
    fcntl.flock(lock, fcntl.LOCK_SH)
    try:
        os.utime(entry)
    except FileNotFoundError:
        lock.close()
        return None
    return lock


def make_room(entries: Iterable[Path], num_bytes: int, max_bytes: int) -> int:
    """Remove unused entries until ``num_bytes`` more fit into ``max_bytes``, if they ever can.

    Returns:
        Bytes of what is left: ``num_bytes`` fit if the sum is not above ``max_bytes``.
    """
    by_age = sorted(entries, key=lambda entry: entry.stat().st_mtime)
    sizes = {entry: size_bytes(entry) for entry in by_age}
    used = sum(sizes.values())
    if num_bytes <= max_bytes:
        for entry in by_age:
            if used + num_bytes > max_bytes and _remove_if_unused(entry):
                used -= sizes[entry]
    return used


def size_bytes(entry: Path) -> int:
    """Of a file, or of all files of a folder."""
    if not entry.is_dir():
        return entry.stat().st_size
    return sum(file.stat().st_size for file in entry.rglob("*") if file.is_file())


def _remove_if_unused(entry: Path) -> bool:
    with _lock_file(entry).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
        return True


def _lock_file(entry: Path) -> Path:
    return entry.with_name(entry.name + ".in_use")
