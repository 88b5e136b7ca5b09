"""Index one annotation file, as `slrtune data index FILE --root ROOT` does."""

from __future__ import annotations

from pathlib import Path

from slrtune.data.index import index_clips
from slrtune.data.manifest import ClipRecord
from tests.data.conftest import make_config


def index_file(file: Path, root: Path | None = None, **settings: object) -> list[ClipRecord]:
    config = make_config(annotations=file, **settings)
    return list(index_clips(config, root or file.parent))


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
