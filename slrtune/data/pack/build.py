"""Pack the clips of a manifest: shard by shard, in parallel, resumable, the same bytes every time.

A shard, a few consecutive clips of the manifest, is the unit of work. Its file appears whole, then
a note beside it says what became of its clips; a later start skips the shards that have a note.
Which clips make up a shard depends on their number alone, so neither the processes nor an
interruption can be seen in the result.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from slrtune.config.errors import UserError
from slrtune.config.storage import Folder
from slrtune.data.manifest import FOUND, UNREADABLE, ClipRecord, write_manifest
from slrtune.data.pack.clip import attempt_clip
from slrtune.data.pack.parameters import PackParameters
from slrtune.data.pack.reader import (
    MANIFEST_FILE,
    PACK_FILE,
    PackFacts,
    ShardFacts,
    damage_at_a_glance,
)  # fmt: skip
from slrtune.data.pack.shard import PackedClip, writing_shard
from slrtune.data.workers import MAX_CLIP_S, WorkerCrash, map_crash_proof, sign_of_life

_MIN_CLIPS_PER_SHARD, _MAX_CLIPS_PER_SHARD, _NUM_SHARDS = 4, 32, 64
"""Shards enough to share out to many processes, and large enough not to be many files."""

_Attempt = tuple[ClipRecord, PackedClip | None]


@dataclass(frozen=True)
class PackPlan:
    """What is to be packed.

    Attributes:
        key: changes with everything that decides the content; names the subfolder.
        root: folder of the source files; ``records`` has paths relative to it.
    """

    key: str
    root: Path
    records: Sequence[ClipRecord]
    parameters: PackParameters
    source_digest: str


@dataclass(frozen=True)
class ShardTask:
    """A shard to be packed: everything that a process on another machine needs to know."""

    folder: Folder
    name: str
    root: Path
    parameters: PackParameters
    clips: tuple[tuple[int, ClipRecord], ...]


@dataclass(frozen=True)
class ShardResult:
    """What became of a shard: its file, and its clips with their outcome, by clip id."""

    facts: ShardFacts
    clips: tuple[tuple[int, ClipRecord], ...]


Engine = Callable[[Sequence[ShardTask]], Iterator[ShardResult]]
"""Packs shards, in any order, each with `pack_shard` in a process that may die of it."""

OnPacked = Callable[[int, int, int], None]
"""Told (clips done, clips in all, bytes of the shards so far)."""


def build_pack(plan: PackPlan, folder: Folder, engine: Engine, on_packed: OnPacked) -> PackFacts:
    """Pack what is not packed yet, then say so in pack.json, which replaces an older pack's.

    A clip that cannot be decoded, or whose decoding kills the process or hangs it, is left out; its
    row of the manifest says why.

    Raises:
        UserError: other machines wrote elsewhere, or an older pack.json is no such file.
    """
    tasks = plan_shards(plan, folder)
    done = finished_shards(plan, folder, tasks)
    num_clips = sum(len(task.clips) for task in tasks)

    def report() -> None:
        clips = sum(len(result.clips) for result in done.values())
        on_packed(clips, num_clips, sum(result.facts.num_bytes for result in done.values()))

    report()
    for result in engine([task for task in tasks if task.name not in done]):
        done[result.facts.file] = result
        report()
    return _finish(plan, folder, [done[task.name] for task in tasks])


def plan_shards(plan: PackPlan, folder: Folder) -> list[ShardTask]:
    """The found clips, in the order of the manifest, cut into shards."""
    found = [(i, record) for i, record in enumerate(plan.records) if record.status == FOUND]
    size = min(max(len(found) // _NUM_SHARDS, _MIN_CLIPS_PER_SHARD), _MAX_CLIPS_PER_SHARD)
    return [
        ShardTask(
            folder,
            f"{plan.key}/{start // size:05}.arrow",
            plan.root,
            plan.parameters,
            tuple(found[start : start + size]),
        )
        for start in range(0, len(found), size)
    ]


def finished_shards(
    plan: PackPlan, folder: Folder, tasks: Sequence[ShardTask]
) -> dict[str, ShardResult]:
    """Results of the shards that an earlier start has packed, by name."""
    there = folder.sizes(plan.key)
    finished = {}
    for task in tasks:
        if task.name in there and _note_name(task.name) in there:
            result = _read_note(folder.read(_note_name(task.name)) or b"")
            if result.facts.num_bytes == there[task.name]:
                finished[task.name] = result
    return finished


def pack_shard(task: ShardTask, *, apart_max_clip_s: float | None = None) -> ShardResult:
    """Decode the clips of a shard and write its file and its note.

    Args:
        apart_max_clip_s: decode each clip in another process, where only it can die of it, and for
            so many seconds at most; None = decode here.
    """
    clips = []
    num_written = 0
    with writing_shard(task.folder, task.name, task.parameters) as (writer, sink):
        for (clip_id, _), (record, clip) in zip(
            task.clips, _attempts(task, apart_max_clip_s), strict=True
        ):
            clips.append((clip_id, record))
            if clip is not None:
                writer.write(clip_id, clip)
                num_written += 1
    facts = ShardFacts(task.name, num_written, sink.num_bytes, sink.sha256)
    result = ShardResult(facts, tuple(clips))
    task.folder.write(_note_name(task.name), json.dumps(asdict(result)).encode())
    return result


def _attempts(task: ShardTask, apart_max_clip_s: float | None) -> Iterator[_Attempt]:
    attempt = partial(_attempt, task.root, task.parameters)
    records = [record for _, record in task.clips]
    if apart_max_clip_s is None:
        for record in records:
            sign_of_life()  # the limit is that of a clip, however many are in the shard
            yield attempt(record)
        return
    results = map_crash_proof(attempt, records, 1, max_item_s=apart_max_clip_s)
    for record, result in zip(records, results, strict=True):
        if isinstance(result, WorkerCrash):
            yield replace(record, status=UNREADABLE, reason=result.reason), None
        else:
            yield result


def _attempt(root: Path, parameters: PackParameters, record: ClipRecord) -> _Attempt:
    return attempt_clip(root, record, parameters)


def by_processes(num_workers: int, max_clip_s: float = MAX_CLIP_S) -> Engine:
    """Packs with processes of this machine."""

    def run(tasks: Sequence[ShardTask]) -> Iterator[ShardResult]:
        return pack_crash_proof(tasks, num_workers, max_clip_s)

    return run


def pack_crash_proof(
    tasks: Iterable[ShardTask], num_workers: int, max_clip_s: float = MAX_CLIP_S
) -> Iterator[ShardResult]:
    """Pack shards in other processes.

    A clip that kills its process, or holds it for longer than ``max_clip_s``, costs that clip
    alone: its shard is packed again, each clip apart.
    """
    listed = list(tasks)
    results = map_crash_proof(pack_shard, listed, num_workers, max_item_s=max_clip_s)
    for task, result in zip(listed, results, strict=True):
        if isinstance(result, WorkerCrash):
            yield pack_shard(task, apart_max_clip_s=max_clip_s)
        else:
            yield result


def _finish(plan: PackPlan, folder: Folder, results: Sequence[ShardResult]) -> PackFacts:
    """Write manifest, then pack.json: from then on the pack is there; then tidy up."""
    outcome = dict(enumerate(plan.records))
    for result in results:
        outcome.update(result.clips)
    manifest = f"{plan.key}/{MANIFEST_FILE}"
    with folder.writing(manifest) as sink:
        sink.write(_manifest_bytes(list(outcome.values())))
    facts = PackFacts(
        key=plan.key,
        parameters=plan.parameters,
        root=str(plan.root.resolve()),
        source_digest=plan.source_digest,
        manifest_sha256=sink.sha256,
        clips=dict(sorted(Counter(record.status for record in outcome.values()).items())),
        shards=tuple(result.facts for result in results),
    )
    wrong = damage_at_a_glance(folder, facts)
    if wrong:
        raise UserError(
            f"{folder.uri}: must be one folder for all that pack, but {wrong[0]}; give --out a "
            "folder that every machine mounts, or an address such as s3://bucket/pack"
        )
    before = PackFacts.find(folder)
    folder.write(PACK_FILE, facts.to_json())
    if before is not None and before.key != plan.key:
        folder.delete_subfolder(before.key)
    parts = {manifest, *(shard.file for shard in facts.shards)}
    for name in folder.sizes(plan.key).keys() - parts:
        folder.delete(name)  # notes, and what a killed process left half done
    return facts


def _manifest_bytes(records: Sequence[ClipRecord]) -> bytes:
    with TemporaryDirectory() as scratch:
        path = Path(scratch) / MANIFEST_FILE
        write_manifest(path, records)
        return path.read_bytes()


def _note_name(shard_name: str) -> str:
    return shard_name.removesuffix(".arrow") + ".json"


def _read_note(content: bytes) -> ShardResult:
    raw = json.loads(content)
    return ShardResult(
        ShardFacts(**raw["facts"]),
        tuple((clip_id, _record(fields)) for clip_id, fields in raw["clips"]),
    )


def _record(fields: dict[str, object]) -> ClipRecord:
    box = fields["box"]
    return ClipRecord(**fields | {"box": None if box is None else tuple(box)})  # type: ignore[arg-type]
