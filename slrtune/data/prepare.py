"""From files to a prepared folder: index, decode into the clip cache, manifest; once per content.

    cache_dir/fingerspelling-<key>/   rendered videos, if the source is fingerspelling
    cache_dir/clips-<key>/            clips.arrow  manifest.parquet  prepared.json

The key is a hash of everything that decides the content: clip list, sizes and times of the files,
decode parameters. A folder is built as <name>.partial under a lock and renamed when whole, so it
is either complete or not there, however many processes ask for it or die meanwhile.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path

from slrtune.config.data import DataConfig
from slrtune.config.errors import UserError
from slrtune.data.clip_cache import CacheParameters, build_clip_cache
from slrtune.data.coverage import Coverage
from slrtune.data.dataset import CachedClip, ClipDataset
from slrtune.data.index import index_clips
from slrtune.data.manifest import MISSING, ClipRecord, read_manifest, write_manifest
from slrtune.data.splits import assign_splits, require_clips, require_split
from slrtune.data.synth.dataset import RENDERER_VERSION, SynthSettings, render_dataset
from slrtune.data.workers import available_cpus

Progress = Callable[[str, int, int], None]
"""Told (what is being done, done, total)."""

_CLIPS, _MANIFEST, _SUMMARY = "clips.arrow", "manifest.parquet", "prepared.json"


@dataclass(frozen=True)
class PreparedData:
    """Clips ready for training.

    Attributes:
        folder: holds clip cache, manifest and summary.
        root: where the source files are; `ClipRecord.path` is relative to it.
        records: every listed clip, usable or not; the place is the clip id.
    """

    folder: Path
    root: Path
    config: DataConfig
    records: tuple[ClipRecord, ...]

    @cached_property
    def glosses(self) -> tuple[str, ...]:
        """Labels: a gloss's label is its place here. Sorted, of all splits together."""
        return tuple(sorted({record.gloss for record in self.records if record.is_usable}))

    @cached_property
    def coverage(self) -> Coverage:
        """What was listed, found and usable, and why the rest is not."""
        return Coverage.of(self.records)

    def dataset(self, split: str, *, is_training: bool, seed: int) -> ClipDataset:
        """The usable clips of ``split``; augmented, and sampled at random, only for training."""
        label_of = {gloss: label for label, gloss in enumerate(self.glosses)}
        usable = [(i, record) for i, record in enumerate(self.records) if record.is_usable]
        clips = tuple(
            CachedClip(position, clip_id, label_of[record.gloss])
            for position, (clip_id, record) in enumerate(usable)  # the cache holds just the usable
            if record.split == split
        )
        return ClipDataset(
            self.folder / _CLIPS, clips, self.config, is_training=is_training, seed=seed
        )


def prepare_data(
    config: DataConfig,
    on_progress: Progress | None = None,
    num_workers: int | None = None,
    *,
    only_split: str | None = None,
) -> PreparedData:
    """Render, index and decode what is not there yet; at once when all is.

    Several processes may call it: one works, the others wait for it.

    Args:
        num_workers: processes that render and decode; None = one per available core.
        only_split: the split that must have a usable clip; None = those of training and
            validation.

    Raises:
        UserError: no folder, a bad annotation file, an empty split (by its name), a full disk.
    """
    num_workers = num_workers or available_cpus()
    on_progress = on_progress or (lambda what, done, total: None)
    with disk_errors_explained(_cache_dir(config)):
        root = source_root(config, on_progress, num_workers)
        records = index_clips(config, root)
        parameters = CacheParameters.of(config)
        folder = _cache_dir(config) / f"clips-{_key(root, records, parameters)}"
        _build_once(folder, partial(_build, root, records, parameters, num_workers, on_progress))
        records = assign_splits(read_manifest(folder / _MANIFEST), config)
    if only_split is None:
        require_clips(records, config, root)
    else:
        require_split(records, only_split, root)
    return PreparedData(folder, root, config, records)


def source_root(config: DataConfig, on_progress: Progress, num_workers: int) -> Path:
    """The folder of the source videos; fingerspelling is rendered on first use."""
    if config.source != "fingerspelling":
        if config.root is None:
            raise UserError(f"data.root: must be given for data.source {config.source}")
        return config.root.expanduser()
    settings = SynthSettings(seed=config.synth_seed, num_signers=config.synth_num_signers)
    folder = _cache_dir(config) / f"fingerspelling-{_digest(repr((RENDERER_VERSION, settings)))}"

    def render(partial_folder: Path) -> None:
        report = partial(on_progress, "rendering fingerspelling videos")
        render_dataset(partial_folder, settings, num_workers=num_workers, on_progress=report)

    _build_once(folder, render)
    return folder


def _build(
    root: Path,
    records: Sequence[ClipRecord],
    parameters: CacheParameters,
    num_workers: int,
    on_progress: Progress,
    folder: Path,
) -> None:
    report = partial(on_progress, "decoding clips")
    outcome = build_clip_cache(folder / _CLIPS, root, records, parameters, num_workers, report)
    write_manifest(folder / _MANIFEST, outcome)
    coverage = Coverage.of(outcome)
    summary = {
        "root": str(root.resolve()),
        "cache": asdict(parameters),
        "splits": {name: asdict(part) for name, part in coverage.splits.items()},
    }
    (folder / _SUMMARY).write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")


def _build_once(folder: Path, build: Callable[[Path], None]) -> None:
    """Have ``build`` fill ``folder`` unless it is there; whole or not at all."""
    if folder.is_dir():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(folder.name + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # released by the kernel if this process dies
        if folder.is_dir():
            return
        # may be what a killed builder left: rendering goes on there, the clip cache starts anew
        partial_folder = folder.with_name(folder.name + ".partial")
        partial_folder.mkdir(exist_ok=True)
        build(partial_folder)
        partial_folder.rename(folder)


def _key(root: Path, records: Sequence[ClipRecord], parameters: CacheParameters) -> str:
    """Changes when the listed clips, their files or the way of decoding change."""
    rows = [
        (record, None if record.status == MISSING else _stamp(root / record.path))
        for record in records
    ]
    return _digest(repr((str(root.resolve()), parameters, rows)))


def _stamp(path: Path) -> list[tuple[str, int, int]]:
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return [(file.name, stat.st_size, stat.st_mtime_ns) for file in files for stat in [file.stat()]]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _cache_dir(config: DataConfig) -> Path:
    return config.cache_dir.expanduser()


@contextmanager
def disk_errors_explained(cache_dir: Path) -> Iterator[None]:
    """A full disk, or a folder that cannot be written to, is the user's to mend."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(
                f"data.cache_dir: {cache_dir} must have room for the decoded clips, but {error}; "
                "free some, set it to a larger disk, or lower data.cache_max_frames"
            ) from error
        if str(error.filename).startswith(str(cache_dir)):
            raise UserError(
                f"data.cache_dir: must be a folder that can be written to, but {error}; "
                "set it to another one"
            ) from error
        if isinstance(error, PermissionError):
            raise UserError(
                f"data.root: must be readable, but {error}; correct its permissions"
            ) from error
        raise
