"""From files to clips ready for training: render, index, pack; each once per content.

    cache_dir/fingerspelling-<digest>/   rendered videos, if the source is an embedded one
    cache_dir/clips-<key>/               a pack made on first use, see `slrtune.data.pack.reader`

`data.pack` names a pack that `slrtune data pack` made instead. Either way the packing is the same.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TextIO

from slrtune.config.data import DataConfig
from slrtune.config.errors import UserError
from slrtune.config.storage import Folder
from slrtune.data.disk_bound import BYTES_PER_GIB, locked, make_room, use
from slrtune.data.index import index_clips
from slrtune.data.manifest import ClipRecord
from slrtune.data.pack.build import Engine, OnPacked, PackPlan, build_pack, by_processes
from slrtune.data.pack.fetch import fetch_pack
from slrtune.data.pack.parameters import PackParameters
from slrtune.data.pack.reader import Pack, PackFacts, damage_at_a_glance, read_records
from slrtune.data.pack.source import check_pack, pack_command, plan_pack
from slrtune.data.prepared import PreparedData
from slrtune.data.rendered import RENDERED, Progress, cache_dir, rendered_folder, source_root
from slrtune.data.splits import Needs, assign_splits, require_clips, require_split
from slrtune.data.workers import available_cpus

_PACKING = "packing clips"
_TRIED_SHARE = 0.05
"""Of the clips: from then on the size of the whole pack is known well enough to give up."""
_in_use: dict[Path, TextIO] = {}
"""Packs in cache_dir that this process uses: their locks keep them from being removed."""


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
    with disk_errors_explained(cache_dir(config)):
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
    with disk_errors_explained(cache_dir(config)):
        root = source_root(config, on_progress, available_cpus())
        records = index_clips(config, root)
    with disk_errors_explained(folder.local or Path(out), "--out"):
        plan = plan_pack(root, records, PackParameters.of(config))
        report = partial(on_progress, _PACKING)
        engine = engine or by_processes(available_cpus())
        facts = _pack_once(plan, folder, engine, lambda done, total, _: report(done, total))
    return facts, read_records(folder, facts)


def _automatic_pack(
    config: DataConfig, on_progress: Progress, num_workers: int
) -> tuple[Pack, Path]:
    """The pack in cache_dir, made now if it is not there."""
    root = source_root(config, on_progress, num_workers)
    records = index_clips(config, root)
    plan = plan_pack(root, records, PackParameters.of(config))
    folder = cache_dir(config) / f"clips-{plan.key}"
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
    local = folder.local or fetch_pack(folder, cache_dir(config), report)
    pack = None if local is None else Pack.find(local)
    if pack is None:
        raise UserError(
            f"data.pack: must be a finished pack, but there is no pack.json in {address}; make it "
            f"with:\n  {pack_command(config, address)}"
        )
    root, listed = Path(pack.facts.root), None
    if config.is_embedded:
        differs = root.name.startswith(RENDERED) and root.name != rendered_folder(config).name
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
