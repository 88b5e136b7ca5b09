"""What is in a clip's file, as one string: the same for every copy of it."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from slrtune.data.video import image_files


def hash_content(path: Path) -> str:
    """SHA-256 of a file, or of the images of a folder in their order; names do not count."""
    if not path.is_dir():
        stat = path.stat()
        return _hash_file(path, stat.st_size, stat.st_mtime_ns)
    digest = hashlib.sha256()
    for image in image_files(path):
        digest.update(f"{hash_content(image)}\n".encode())
    return digest.hexdigest()


@lru_cache(maxsize=64)  # a long video with many sentences is read for its hash once, not each time
def _hash_file(path: Path, size: int, mtime_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
