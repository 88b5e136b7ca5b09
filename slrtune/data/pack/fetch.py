"""A pack in an object store, copied to this machine once: it is read by mapping its files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from slrtune.config.errors import UserError
from slrtune.config.storage import Folder
from slrtune.data.disk_bound import locked
from slrtune.data.pack.reader import MANIFEST_FILE, PACK_FILE, PackFacts


def fetch_pack(
    source: Folder, cache_dir: Path, on_progress: Callable[[int, int], None]
) -> Path | None:
    """The local copy of a pack; None where there is no finished one.

    A copy that was cut off goes on with the files that are missing; each is checked on arrival.

    Args:
        on_progress: told (files done, files in all).

    Raises:
        UserError: a file arrived damaged.
    """
    facts = PackFacts.find(source)
    if facts is None:
        return None
    target = cache_dir / f"fetched-{facts.key}"
    (target / facts.key).mkdir(parents=True, exist_ok=True)
    with locked(target / ".lock"):
        if PackFacts.find(Folder(target)) == facts:
            return target
        wanted = {shard.file: shard.sha256 for shard in facts.shards}
        wanted[f"{facts.key}/{MANIFEST_FILE}"] = facts.manifest_sha256
        for done, (name, sha256) in enumerate(wanted.items(), start=1):
            _fetch_file(source, name, sha256, target / name)
            on_progress(done, len(wanted))
        Folder(target).write(PACK_FILE, facts.to_json())
    return target


def _fetch_file(source: Folder, name: str, sha256: str, target: Path) -> None:
    if target.exists():
        return
    partial = target.with_name(target.name + ".partial")
    source.fetch(name, partial)
    with partial.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise UserError(
            f"data.pack: {source.uri}/{name} must have the checksum that its pack.json says, but "
            "has not; pack anew with `slrtune data pack`"
        )
    partial.rename(target)
