"""A finished pack: what it says of itself, and its clips by their position.

OUT/pack.json            written last: a pack without it is not finished
OUT/<key>/manifest.parquet
OUT/<key>/00000.arrow    clips, in the order of the manifest's usable rows
"""

from __future__ import annotations

import hashlib
import json
import re
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from itertools import accumulate
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from slrtune.config.errors import UserError
from slrtune.config.storage import Folder
from slrtune.data.manifest import ClipRecord, read_manifest
from slrtune.data.pack.parameters import PACK_VERSION, PackParameters
from slrtune.data.pack.shard import PackedClip, PackedFrames, Shard

PACK_FILE = "pack.json"
MANIFEST_FILE = "manifest.parquet"
# Names lead to files that are written and deleted: a foreign pack.json must not lead elsewhere.
_KEY, _SHARD = re.compile(r"[0-9a-f]{16}"), re.compile(r"[0-9]{5,9}\.arrow")


@dataclass(frozen=True)
class ShardFacts:
    """One file of a pack, by its name in the pack's folder."""

    file: str
    num_clips: int
    num_bytes: int
    sha256: str


@dataclass(frozen=True)
class PackFacts:
    """The content of pack.json.

    Attributes:
        key: names the subfolder; changes with everything that decides the content.
        root: where the source files were.
        source_digest: of the list of clips and the sizes of their files, see `source_digest`.
        manifest_sha256: of the manifest's file.
        clips: how many clips have each status.
    """

    key: str
    parameters: PackParameters
    root: str
    source_digest: str
    manifest_sha256: str
    clips: dict[str, int]
    shards: tuple[ShardFacts, ...]

    @property
    def num_clips(self) -> int:
        """Clips that can be read."""
        return sum(shard.num_clips for shard in self.shards)

    @property
    def num_bytes(self) -> int:
        """Of all shards."""
        return sum(shard.num_bytes for shard in self.shards)

    def to_json(self) -> bytes:
        """As pack.json holds it."""
        return (json.dumps(asdict(self), indent=2) + "\n").encode()

    @classmethod
    def find(cls, folder: Folder) -> PackFacts | None:
        """The facts of the pack in ``folder``; None where there is no finished one.

        Raises:
            UserError: pack.json is no such file, or of another version.
        """
        content = folder.read(PACK_FILE)
        if content is None:
            return None
        try:
            raw: dict[str, Any] = json.loads(content)
            version = raw["parameters"]["version"]
            if version == PACK_VERSION:
                facts = cls(
                    **raw
                    | {
                        "parameters": PackParameters(**raw["parameters"]),
                        "shards": tuple(ShardFacts(**shard) for shard in raw["shards"]),
                    }
                )
                facts._require_plain_names()
                return facts
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{folder.uri}/{PACK_FILE}: must be the description of a pack, but {error!r}; "
                "remove the folder and pack again with `slrtune data pack`"
            ) from None
        raise UserError(
            f"{folder.uri}/{PACK_FILE}: format version must be {PACK_VERSION}, but is {version}; "
            "remove the folder and pack again with `slrtune data pack`"
        )

    def _require_plain_names(self) -> None:
        if not _KEY.fullmatch(self.key):
            raise ValueError(f"key is {self.key!r}")
        for shard in self.shards:
            subfolder, _, name = shard.file.partition("/")
            if subfolder != self.key or not _SHARD.fullmatch(name):
                raise ValueError(f"a shard is named {shard.file!r}")


def read_records(folder: Folder, facts: PackFacts) -> tuple[ClipRecord, ...]:
    """The packed manifest, wherever the pack is."""
    with TemporaryDirectory() as scratch:
        folder.fetch(f"{facts.key}/{MANIFEST_FILE}", Path(scratch) / MANIFEST_FILE)
        return read_manifest(Path(scratch) / MANIFEST_FILE)


def damage_at_a_glance(folder: Folder, facts: PackFacts) -> list[str]:
    """What names and sizes of the files say is wrong, a phrase each; contents are not read."""
    sizes = folder.sizes(facts.key)
    wanted = {shard.file: shard.num_bytes for shard in facts.shards}
    wrong = [
        f"{name} must have {num_bytes} bytes, but "
        + ("is not there" if name not in sizes else f"has {sizes[name]}")
        for name, num_bytes in wanted.items()
        if sizes.get(name) != num_bytes
    ]
    if f"{facts.key}/{MANIFEST_FILE}" not in sizes:
        wrong.append(f"{facts.key}/{MANIFEST_FILE} is not there")
    return wrong


@dataclass(frozen=True)
class Pack:
    """A finished pack on a disk of this machine."""

    folder: Path
    facts: PackFacts

    @classmethod
    def find(cls, folder: Path) -> Pack | None:
        """The pack in ``folder``; None where there is no finished one.

        Raises:
            UserError: a file is missing or has another size than pack.json says.
        """
        facts = PackFacts.find(Folder(folder))
        if facts is None:
            return None
        wrong = damage_at_a_glance(Folder(folder), facts)
        if wrong:
            raise UserError(
                f"{folder}: {wrong[0]}; the pack is damaged: remove {folder / PACK_FILE} and pack "
                "again with `slrtune data pack`"
            )
        return cls(folder, facts)

    def records(self) -> tuple[ClipRecord, ...]:
        """The packed manifest: every listed clip with how it went."""
        return read_manifest(self.folder / self.facts.key / MANIFEST_FILE)


@dataclass
class PackReader:
    """Clips by position, from mapped files that are opened when first needed.

    Pickles as its place: each process maps the files for itself, and the kernel keeps their pages
    once for all.
    """

    pack: Pack
    _shards: dict[int, Shard] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self._ends = list(accumulate(shard.num_clips for shard in self.pack.facts.shards))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __reduce__(self) -> tuple[type[PackReader], tuple[Pack]]:
        return PackReader, (self.pack,)

    def read(self, position: int) -> tuple[int, PackedFrames]:
        """Clip id and frames of the clip at ``position``: indexable uint8 (T', H', W', 3).

        Raw frames are the mapped file itself and read-only: index them into a copy before use.
        """
        shard, index = self._locate(position)
        return shard.read(index)

    def clip(self, position: int) -> tuple[int, PackedClip]:
        """Clip id and everything that is packed of the clip: landmarks, crop, frame numbers."""
        shard, index = self._locate(position)
        return shard.clip(index)

    def keypoints(self, position: int) -> tuple[tuple[int, int, int, int], np.ndarray | None]:
        """What part of the video is packed, in its pixels, and the landmarks (T', K, D) of the
        packed frames; None for a clip without."""
        shard, index = self._locate(position)
        return shard.keypoints(index)

    def _locate(self, position: int) -> tuple[Shard, int]:
        number = bisect_right(self._ends, position)
        if number not in self._shards:
            self._shards[number] = Shard(self.pack.folder / self.pack.facts.shards[number].file)
        start = self._ends[number - 1] if number else 0
        return self._shards[number], position - start


def damaged_files(pack: Pack, on_file: Callable[[int, int], None]) -> list[str]:
    """Names of files whose bytes are not those that were packed: all of them are read.

    Args:
        on_file: told (files done, files in all).
    """
    facts = pack.facts
    expected = {shard.file: shard.sha256 for shard in facts.shards}
    expected[f"{facts.key}/{MANIFEST_FILE}"] = facts.manifest_sha256
    wrong = []
    for done, (name, sha256) in enumerate(expected.items(), start=1):
        with (pack.folder / name).open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                wrong.append(name)
        on_file(done, len(expected))
    return wrong
