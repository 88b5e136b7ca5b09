"""From files to clips ready for training: render, index, pack; each once per content.

    cache_dir/fingerspelling-<digest>/   rendered videos, if the source is an embedded one
    cache_dir/clips-<key>/               a pack made on first use, see `slrtune.data.pack.reader`

`data.pack` names a pack that `slrtune data pack` made instead. Either way the packing is the same.
"""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TextIO

from slrtune.config.data import DataConfig
from slrtune.config.errors import UserError
from slrtune.config.storage import Folder
from slrtune.data.coverage import Coverage
from slrtune.data.dataset import ClipDataset, ClipPlace
from slrtune.data.disk_bound import BYTES_PER_GIB, locked, make_room, use
from slrtune.data.index import index_clips
from slrtune.data.manifest import ClipRecord
from slrtune.data.pack.build import Engine, OnPacked, PackPlan, build_pack, by_processes
from slrtune.data.pack.fetch import fetch_pack
from slrtune.data.pack.parameters import PackParameters
from slrtune.data.pack.reader import Pack, PackFacts, damage_at_a_glance, read_records
from slrtune.data.pack.source import check_pack, pack_command, plan_pack
from slrtune.data.splits import Needs, assign_splits, has_needed, require_clips, require_split
from slrtune.data.synth.dataset import RENDERER_VERSION, SynthSettings, render_dataset
from slrtune.data.synth.sentences import SentenceSettings
from slrtune.data.workers import available_cpus

Progress = Callable[[str, int, int], None]
"""Told (what is being done, done, total)."""

_PACKING = "packing clips"
_RENDERED = "fingerspelling-"
_TRIED_SHARE = 0.05
"""Of the clips: from then on the size of the whole pack is known well enough to give up."""
_in_use: dict[Path, TextIO] = {}
"""Packs in cache_dir that this process uses: their locks keep them from being removed."""


@dataclass(frozen=True)
class PreparedData:
    """Clips ready for training.

    Attributes:
        pack: holds the clips.
        root: where the source files are or were; `ClipRecord.path` is relative to it.
        records: every listed clip, usable or not; the place is the clip id.
        needs: what the clips of `dataset` have.
    """

    pack: Pack
    root: Path
    config: DataConfig
    records: tuple[ClipRecord, ...]
    needs: Needs = "gloss"

    @cached_property
    def glosses(self) -> tuple[str, ...]:
        """Labels: a gloss's label is its place here, of all splits together.

        In the order of the data's own class list; sorted where the data have none. Without any
        where the data have sentences only.
        """
        usable = [record for record in self.records if record.is_usable and record.gloss]
        if any(record.label_id is None for record in usable):
            return tuple(sorted({record.gloss for record in usable}))
        by_number = sorted({(record.label_id, record.gloss) for record in usable})
        return tuple(dict.fromkeys(gloss for _, gloss in by_number))

    @cached_property
    def coverage(self) -> Coverage:
        """What was listed, found and usable, and why the rest is not."""
        return Coverage.of(self.records)

    def sentences(self, split: str) -> list[str]:
        """The sentences of the clips of `dataset`, in their order."""
        return [
            record.sentence or ""
            for record in self.records
            if record.split == split and has_needed(record, "sentence")
        ]

    def num_without(self, split: str) -> int:
        """Usable clips of ``split`` that are left out because they lack what is needed."""
        return sum(
            record.split == split and record.is_usable and not has_needed(record, self.needs)
            for record in self.records
        )

    def dataset(
        self, split: str, *, is_training: bool, seed: int, num_keypoints: int = 0
    ) -> ClipDataset:
        """The usable clips of ``split`` that have what is needed: a gloss, or a sentence.

        Augmented, and sampled at random, only for training. The label of a clip without a gloss
        is 0. With ``num_keypoints`` the samples have so many landmarks.
        """
        label_of = {gloss: label for label, gloss in enumerate(self.glosses)}
        usable = [(i, record) for i, record in enumerate(self.records) if record.is_usable]
        clips = tuple(
            ClipPlace(
                position,
                clip_id,
                label_of.get(record.gloss, 0),
                (record.width or 0, record.height or 0),
            )
            for position, (clip_id, record) in enumerate(usable)  # a pack holds just the usable
            if record.split == split and has_needed(record, self.needs)
        )
        return ClipDataset(
            self.pack,
            clips,
            self.config,
            is_training=is_training,
            seed=seed,
            num_keypoints=num_keypoints,
        )


def prepare_data(
    config: DataConfig,
    on_progress: Progress | None = None,
    num_workers: int | None = None,
    *,
    only_split: str | None = None,
    needs: Needs = "gloss",
) -> PreparedData:
    """Open the pack that ``config`` names, or render, index and pack what is not there yet.

    Several processes may call it: one works, the others wait for it.

    Args:
        num_workers: processes that render and pack; None = one per available core.
        only_split: the split that must have a usable clip; None = those of training and
            validation.
        needs: what a clip must have to count there: ``sentence`` for translation.

    Raises:
        UserError: no folder, a bad annotation file, an empty split (by its name), a full disk, a
            pack that does not match.
    """
    num_workers = num_workers or available_cpus()
    on_progress = on_progress or (lambda what, done, total: None)
    with disk_errors_explained(_cache_dir(config)):
        if config.pack is None:
            pack, root = _automatic_pack(config, on_progress, num_workers)
        else:
            pack, root = _named_pack(config, config.pack, on_progress)
        records = assign_splits(pack.records(), config)
    if only_split is None:
        require_clips(records, config, root, needs)
    else:
        require_split(records, only_split, root, needs)
    return PreparedData(pack, root, config, records, needs)


def pack_data(
    config: DataConfig, out: str, on_progress: Progress, engine: Engine | None = None
) -> tuple[PackFacts, tuple[ClipRecord, ...]]:
    """Pack the clips of ``config`` into the folder or address ``out``, unless they are there.

    Args:
        engine: what packs the shards; None = a process per available core.

    Returns:
        What the pack says of itself, and its records.

    Raises:
        UserError: as `prepare_data`.
    """
    folder = Folder(out)
    with disk_errors_explained(_cache_dir(config)):
        root = source_root(config, on_progress, available_cpus())
        records = index_clips(config, root)
    with disk_errors_explained(folder.local or Path(out), "--out"):
        plan = plan_pack(root, records, PackParameters.of(config))
        report = partial(on_progress, _PACKING)
        engine = engine or by_processes(available_cpus())
        facts = _pack_once(plan, folder, engine, lambda done, total, _: report(done, total))
    return facts, read_records(folder, facts)


def source_root(config: DataConfig, on_progress: Progress, num_workers: int) -> Path:
    """The folder of the source videos; the embedded data sets are rendered on first use."""
    if not config.is_embedded:
        if config.root is None:
            raise UserError(f"data.root: must be given for data.source {config.source}")
        return config.root.expanduser()
    settings = _synth_settings(config)
    folder = _rendered_folder(config)

    def render(partial_folder: Path) -> None:
        report = partial(on_progress, "rendering fingerspelling videos")
        render_dataset(partial_folder, settings, num_workers=num_workers, on_progress=report)

    _build_once(folder, render)
    return folder


def _automatic_pack(
    config: DataConfig, on_progress: Progress, num_workers: int
) -> tuple[Pack, Path]:
    """The pack in cache_dir, made now if it is not there."""
    root = source_root(config, on_progress, num_workers)
    records = index_clips(config, root)
    plan = plan_pack(root, records, PackParameters.of(config))
    folder = _cache_dir(config) / f"clips-{plan.key}"
    _hold(folder)
    pack = Pack.find(folder)
    if pack is None:
        bound = _SizeBound(folder, config.cache_size_gib)

        def report(done: int, total: int, num_bytes: int) -> None:
            bound.check(done, total, num_bytes)
            on_progress(_PACKING, done, total)

        _pack_once(plan, Folder(folder), by_processes(num_workers), report)
        pack = Pack.find(folder)
        assert pack is not None
    return pack, root


def _named_pack(config: DataConfig, address: str, on_progress: Progress) -> tuple[Pack, Path]:
    """The pack that the user names, if it is what the configuration asks for."""
    folder = Folder(address)
    report = partial(on_progress, "fetching the pack")
    local = folder.local or fetch_pack(folder, _cache_dir(config), report)
    pack = None if local is None else Pack.find(local)
    if pack is None:
        raise UserError(
            f"data.pack: must be a finished pack, but there is no pack.json in {address}; make it "
            f"with:\n  {pack_command(config, address)}"
        )
    root, listed = Path(pack.facts.root), None
    if config.is_embedded:
        differs = root.name.startswith(_RENDERED) and root.name != _rendered_folder(config).name
        other = ["it was rendered with other settings data.synth_…"] * differs
    else:
        other = []
        root = config.root.expanduser() if config.root else root
        if config.root is not None and root.is_dir():
            listed = index_clips(config, root)
    check_pack(pack, config, root, listed, other)
    return pack, root


class _SizeBound:
    """Keeps the packs of cache_dir below their bound while a new one grows."""

    def __init__(self, folder: Path, max_gib: float) -> None:
        self._folder, self._max_gib = folder, max_gib
        self._allowed_bytes = 0

    def check(self, done: int, total: int, num_bytes: int) -> None:
        """Make room for what ``num_bytes`` for ``done`` of ``total`` clips will become.

        Raises:
            UserError: it will not fit.
        """
        if done < _TRIED_SHARE * total or num_bytes == 0:
            return
        expected = num_bytes * total // done
        if expected <= self._allowed_bytes:
            return
        max_bytes = int(self._max_gib * BYTES_PER_GIB)
        others = [
            entry
            for entry in self._folder.parent.glob("clips-*")
            if entry.is_dir() and entry != self._folder
        ]
        used = make_room(others, expected, max_bytes)
        if used + expected > max_bytes:
            in_use = f" beside {used / BYTES_PER_GIB:.2g} GiB that are in use" if used else ""
            raise UserError(
                f"data.cache_size_gib: must hold the packed clips, but about "
                f"{expected / BYTES_PER_GIB:.2g} GiB do not fit into {self._max_gib:g} GiB"
                f"{in_use}; raise it, set data.pack_storage to jpeg, lower data.pack_max_frames or "
                "data.pack_size_px, or pack to a folder of its own with `slrtune data pack --out`"
            )
        self._allowed_bytes = max_bytes - used


def _hold(folder: Path) -> None:
    """Keep others from removing the pack as long as this process lives."""
    while folder not in _in_use:
        folder.mkdir(parents=True, exist_ok=True)
        lock = use(folder)  # None: removed in between
        if lock is not None:
            _in_use[folder] = lock


def _pack_once(plan: PackPlan, folder: Folder, engine: Engine, on_packed: OnPacked) -> PackFacts:
    """Pack unless it is there; on this machine, one process does and the others wait for it."""
    with _locked(folder):
        facts = PackFacts.find(folder)
        if facts is not None and facts.key == plan.key and not damage_at_a_glance(folder, facts):
            return facts
        return build_pack(plan, folder, engine, on_packed)


@contextmanager
def _locked(folder: Folder) -> Iterator[None]:
    if folder.local is None:  # an object store has no locks; two at once write the same bytes
        yield
        return
    folder.local.mkdir(parents=True, exist_ok=True)
    with locked(folder.local / ".lock"):
        yield


def _build_once(folder: Path, build: Callable[[Path], None]) -> None:
    """Have ``build`` fill ``folder`` unless it is there; whole or not at all."""
    if folder.is_dir():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder.with_name(folder.name + ".lock")):
        if folder.is_dir():
            return
        # may be what a killed process left: rendering goes on there
        partial_folder = folder.with_name(folder.name + ".partial")
        partial_folder.mkdir(exist_ok=True)
        build(partial_folder)
        partial_folder.rename(folder)


def _synth_settings(config: DataConfig) -> SynthSettings | SentenceSettings:
    if config.source == "fingerspelling":
        return SynthSettings(seed=config.synth_seed, num_signers=config.synth_num_signers)
    return SentenceSettings(
        seed=config.synth_seed,
        num_signers=config.synth_num_signers,
        letter_s=config.synth_letter_s,
        clips_per_signer=config.synth_clips_per_signer,
        max_words=config.synth_max_words,
    )


def _rendered_folder(config: DataConfig) -> Path:
    text = repr((RENDERER_VERSION, _synth_settings(config)))
    return _cache_dir(config) / f"{_RENDERED}{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _cache_dir(config: DataConfig) -> Path:
    return config.cache_dir.expanduser()


@contextmanager
def disk_errors_explained(folder: Path, key: str = "data.cache_dir") -> Iterator[None]:
    """A full disk, or a folder that cannot be written to, is the user's to mend."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(
                f"{key}: {folder} must have room for the packed clips, but {error}; free some, "
                "choose a larger disk, lower data.pack_max_frames, or set data.pack_storage to jpeg"
            ) from error
        if str(error.filename).startswith(str(folder)):
            raise UserError(
                f"{key}: must be a folder that can be written to, but {error}; choose another one"
            ) from error
        if isinstance(error, PermissionError):
            raise UserError(
                f"data.root: must be readable, but {error}; correct its permissions"
            ) from error
        raise
