"""What a pack was made of, and whether that is what a configuration asks for."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from slrtune.config.data import DataConfig
from slrtune.config.errors import UserError
from slrtune.data.manifest import MISSING, ClipRecord
from slrtune.data.pack.build import PackPlan
from slrtune.data.pack.parameters import PackParameters
from slrtune.data.pack.reader import Pack

_LISTED = (
    "path", "gloss", "split", "signer", "sentence", "label_id", "start_frame", "end_frame",
    "start_s", "end_s", "box", "box_unit", "keypoints",
)  # fmt: skip
"""What the data say of a clip, in contrast to what decoding found out."""
_OUTSIDE_OF_PACKS = frozenset(
    {
        "pack", "train_split", "val_split", "split_by", "val_fraction", "test_fraction",
        "split_seed", "num_frames", "train_sampling", "sampling", "augmentation",
        "num_loader_workers", "cache_size_gib",
    }
)  # fmt: skip


def plan_pack(root: Path, records: Sequence[ClipRecord], parameters: PackParameters) -> PackPlan:
    """What is to be packed; its key changes with the list, the files and the parameters."""
    stamps = [_stamps(root, record) for record in records]
    times = [[mtime_ns for _, _, mtime_ns in files] for files in stamps]
    digest = _digest_of(records, stamps)
    key = _digest(repr((str(root.resolve()), parameters, digest, times)))
    return PackPlan(key, root, records, parameters, digest)


def source_digest(root: Path, records: Sequence[ClipRecord]) -> str:
    """Changes with the list of clips and the sizes of their files, not with times and places."""
    return _digest_of(records, [_stamps(root, record) for record in records])


def check_pack(
    pack: Pack,
    config: DataConfig,
    root: Path,
    listed: Sequence[ClipRecord] | None,
    differences: Sequence[str] = (),
) -> None:
    """Refuse a pack that is not what ``config`` asks for.

    Args:
        root: folder of the source files.
        listed: the clips that the source lists now; None where the source is not there.
        differences: what else is known to be wrong.

    Raises:
        UserError: every difference, and the command that packs anew.
    """
    differences = [
        *differences,
        *pack.facts.parameters.differences(PackParameters.of(config)),
    ]
    if listed is not None and source_digest(root, listed) != pack.facts.source_digest:
        differences.append(_how_lists_differ(pack.records(), listed))
    if differences:
        raise UserError(
            f"data.pack: {pack.folder} must be packed as the configuration asks for, but "
            f"{'; '.join(differences)}. Correct the configuration, or pack anew with:\n"
            f"  {pack_command(config, str(pack.folder))}"
        )


def pack_command(config: DataConfig, out: str) -> str:
    """The command that packs what ``config`` asks for into ``out``."""
    given = config.model_dump(mode="json", exclude_defaults=True, exclude=set(_OUTSIDE_OF_PACKS))
    words = ["slrtune", "data", "pack"]
    for name, value in given.items():
        words += ["--set", f"data.{name}={_as_yaml(value)}"]
    return shlex.join([*words, "--out", out])


def _as_yaml(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _how_lists_differ(packed: Sequence[ClipRecord], listed: Sequence[ClipRecord]) -> str:
    before, now = ({_row(record) for record in records} for records in (packed, listed))
    gone, new = before - now, now - before
    if not gone and not new:
        return "source files have changed since"
    first = min(gone | new)[0]
    return (
        f"the source lists {len(new)} clip(s) that the pack does not have, and the pack "
        f"{len(gone)} that the source does not list (first: {first})"
    )


def _row(record: ClipRecord) -> tuple[str, ...]:
    return tuple(str(getattr(record, name)) for name in _LISTED)


def _digest_of(records: Sequence[ClipRecord], stamps: Sequence[list[tuple[str, int, int]]]) -> str:
    rows = [
        (_row(record), record.status, [(name, size) for name, size, _ in files])
        for record, files in zip(records, stamps, strict=True)
    ]
    return _digest(repr(rows))


def _stamps(root: Path, record: ClipRecord) -> list[tuple[str, int, int]]:
    """Name, size and time of each file of a clip."""
    if record.status == MISSING:
        return []
    path = root / record.path
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    if record.keypoints is not None and (root / record.keypoints).is_file():
        files.append(root / record.keypoints)
    return [(file.name, stat.st_size, stat.st_mtime_ns) for file in files for stat in [file.stat()]]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
