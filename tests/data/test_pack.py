from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import pickle
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from slrtune.config.errors import UserError
from slrtune.config.storage import Folder
from slrtune.data.manifest import ClipRecord
from slrtune.data.pack.build import (
    Engine,
    PackPlan,
    ShardResult,
    ShardTask,
    build_pack,
    by_processes,
    pack_shard,
)
from slrtune.data.pack.clip import decode_clip, signer_crop
from slrtune.data.pack.fetch import fetch_pack
from slrtune.data.pack.parameters import PackParameters
from slrtune.data.pack.reader import Pack, PackReader, damaged_files
from slrtune.data.pack.source import plan_pack
from slrtune.data.resize import resize_short_side
from slrtune.data.video import decode
from slrtune.data.window import ClipTooShortError, frame_window
from slrtune.data.workers import process_context
from tests.data.videos import write_half_video, write_images, write_video
from tests.object_store import object_store

PARAMETERS = PackParameters(size_px=20, max_frames=8)


def here(tasks: Sequence[ShardTask]) -> list[ShardResult]:
    """An engine without processes."""
    return [pack_shard(task) for task in tasks]


def plan(root: Path, *records: ClipRecord, parameters: PackParameters = PARAMETERS) -> PackPlan:
    return plan_pack(root, records, parameters)


def build(plan: PackPlan, out: Path, engine: Engine = here) -> tuple[list[ClipRecord], PackReader]:  # type: ignore[assignment]
    build_pack(plan, Folder(out), engine, lambda done, total, num_bytes: None)
    pack = Pack.find(out)
    assert pack is not None
    return list(pack.records()), PackReader(pack)


def resized(frames: np.ndarray) -> np.ndarray:
    pixels = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2)
    return resize_short_side(pixels, 20).permute(0, 2, 3, 1).numpy()


def checksums(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_pack_gives_back_the_decoded_and_resized_frames(tmp_path: Path) -> None:
    video, images = write_video(tmp_path / "a.mp4", 6), write_images(tmp_path / "b", 5)
    clips = ClipRecord("a.mp4", "x", "train"), ClipRecord("b", "y", "train")
    _, reader = build(plan(tmp_path, *clips), tmp_path / "out")
    assert (len(reader), reader.pack.facts.parameters) == (2, PARAMETERS)
    for position, path in enumerate((video, images)):
        clip_id, frames = reader.read(position)
        assert clip_id == position
        assert len(frames) == 6 - position
        np.testing.assert_array_equal(frames[np.arange(len(frames))], resized(decode(path)))


def test_packed_frames_cannot_be_written_to(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4")
    _, reader = build(plan(tmp_path, ClipRecord("a.mp4", "x", "train")), tmp_path / "out")
    frames = reader.read(0)[1]
    assert isinstance(frames, np.ndarray)
    with pytest.raises(ValueError, match="read-only"):
        frames[0] = 0


def test_jpeg_is_small_and_near_the_raw_pixels(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", 8, width=480, height=320)
    clip = ClipRecord("a.mp4", "x", "train")
    jpeg = PackParameters(160, 8, storage="jpeg", jpeg_quality=90)
    raw_pack, jpeg_pack = (
        build(plan(tmp_path, clip, parameters=each), tmp_path / each.storage)[1]
        for each in (PackParameters(160, 8), jpeg)
    )
    assert jpeg_pack.pack.facts.num_bytes < raw_pack.pack.facts.num_bytes / 5
    chosen = np.array([1, 4, 4, 7])
    (_, raw), (_, small) = raw_pack.read(0), jpeg_pack.read(0)
    assert (small[chosen].shape, len(small)) == ((4, 160, 240, 3), 8)
    assert np.abs(raw[chosen].astype(int) - small[chosen]).mean() < 5  # a coarse picture
    np.testing.assert_array_equal(small[chosen][1], small[chosen][2])


def test_a_clip_that_cannot_be_decoded_is_listed_and_the_others_are_packed(tmp_path: Path) -> None:
    write_half_video(tmp_path / "half.mp4")
    write_video(tmp_path / "one.mp4", 1)
    good = write_video(tmp_path / "good.mp4", 6)
    missing = ClipRecord("gone.mp4", "x", "train", status="missing", reason="no such file")
    found = [ClipRecord(f"{name}.mp4", "x", "train") for name in ("half", "one", "good")]
    outcome, reader = build(plan(tmp_path, missing, *found), tmp_path / "out")
    assert [record.status for record in outcome] == ["missing", "unreadable", "too_short", "ok"]
    assert "of 79 frames" in outcome[1].reason
    assert outcome[2].reason == "has 1 frame(s), needs at least 2"
    facts = {"num_frames": 6, "fps": 25.0, "width": 48, "height": 32, "status": "ok"}
    content_hash = hashlib.sha256(good.read_bytes()).hexdigest()
    assert outcome[3] == replace(found[2], **facts, content_hash=content_hash)  # type: ignore[arg-type]
    assert (len(reader), reader.read(0)[0]) == (1, 3)
    assert reader.pack.facts.clips == {"missing": 1, "ok": 1, "too_short": 1, "unreadable": 1}


def test_a_long_clip_is_thinned_evenly_and_keeps_first_and_last(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 22)
    thinned = decode_clip(tmp_path, ClipRecord("a.mp4", "x", "train"), PARAMETERS)
    assert thinned.info.num_frames == 22
    assert thinned.clip.source_frames.tolist() == list(range(0, 22, 3))
    np.testing.assert_array_equal(thinned.clip.frames, resized(decode(path, range(0, 22, 3))))


def test_only_the_window_of_the_sign_is_decoded(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 22)
    record = ClipRecord("a.mp4", "x", "train", start_frame=4, end_frame=9)
    in_seconds = ClipRecord("a.mp4", "x", "train", start_s=0.16, end_s=0.36)  # 25 fps
    for each in (record, in_seconds):
        clip = decode_clip(tmp_path, each, PARAMETERS).clip
        np.testing.assert_array_equal(clip.frames, resized(decode(path, range(4, 9))))
    with pytest.raises(ClipTooShortError):
        decode_clip(tmp_path, replace(record, end_frame=5), PARAMETERS)


def test_a_sentence_after_the_end_of_its_video_is_out_of_range(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", 25)
    late = ClipRecord("a.mp4", "", "train", sentence="Hello", start_s=7.5, end_s=9.0)
    (outcome,), reader = build(plan(tmp_path, late), tmp_path / "out")
    assert (outcome.status, len(reader)) == ("out_of_range", 0)
    assert "7.5 s" in outcome.reason


@pytest.mark.parametrize(
    ("window", "num_frames", "expected"),
    [
        ((None, None), 50, (0, 50)),
        ((2, None), 50, (2, 50)),
        ((10, 30), 50, (10, 30)),
        ((10, 60), 55, (10, 55)),  # the original, a little shorter than annotated
        ((1145, 1241), 96, (0, 96)),  # WLASL's preprocess.py has cut this one
        ((1145, 1241), 115, (0, 115)),  # the same at another frame rate
    ],
)
def test_a_window_counts_in_the_original_and_means_all_of_a_cut_file(
    window: tuple[int | None, int | None], num_frames: int, expected: tuple[int, int]
) -> None:
    assert frame_window(*window, num_frames) == expected


@pytest.mark.parametrize(
    ("box", "unit", "expected"),
    [
        (None, None, (0, 0, 100, 80)),
        ((40, 20, 60, 60), "px", (26, 16, 74, 64)),  # 40 high: a square of 48 around it
        ((0.4, 0.25, 0.6, 0.75), "fraction", (26, 16, 74, 64)),
        ((0, 30, 20, 70), "px", (0, 26, 48, 74)),  # moved into the picture
        ((10, 0, 90, 80), "px", (2, 0, 98, 80)),  # as square as the picture allows
        ((400, 200, 600, 600), "px", (0, 0, 100, 80)),  # drawn in a larger video
        ((30, 30, 30, 30), "px", (0, 0, 100, 80)),  # empty
    ],
)
def test_the_crop_is_a_square_around_the_signer(
    box: object, unit: object, expected: object
) -> None:
    record = ClipRecord("a.mp4", "x", "train", box=box, box_unit=unit)  # type: ignore[arg-type]
    assert signer_crop(record, 100, 80, 0.1) == expected


def test_a_box_decides_the_packed_pixels_and_is_noted(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 6)
    record = ClipRecord("a.mp4", "x", "train", box=(20.0, 4.0, 40.0, 24.0), box_unit="px")
    parameters = replace(PARAMETERS, crop_margin=0.0)
    _, reader = build(plan(tmp_path, record, parameters=parameters), tmp_path / "out")
    _, clip = reader.clip(0)
    assert clip.crop == (20, 4, 40, 24)
    np.testing.assert_array_equal(clip.frames, decode(path)[:, 4:24, 20:40])


def test_landmarks_lie_beside_the_frames_that_they_belong_to(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", 22)
    points = np.random.default_rng(0).random((22, 5, 3), np.float32)
    np.save(tmp_path / "a.npy", points)
    np.save(tmp_path / "short.npy", points[:3])
    (tmp_path / "text.npy").write_text("no array")
    clip = ClipRecord("a.mp4", "x", "train", start_frame=2, end_frame=12)
    records = [replace(clip, keypoints=f"{name}.npy") for name in ("a", "short", "text", "gone")]
    outcome, reader = build(plan(tmp_path, clip, *records), tmp_path / "out")
    assert [record.status for record in outcome] == ["ok", "ok", *["unreadable"] * 3]
    assert "must have a row for each of 22 frames" in outcome[2].reason
    assert reader.clip(0)[1].keypoints is None
    packed = reader.clip(1)[1]
    np.testing.assert_array_equal(packed.keypoints, points[packed.source_frames])
    assert packed.source_frames.tolist() == [2, 3, 5, 6, 7, 8, 10, 11]


@pytest.fixture(scope="module")
def twelve(tmp_path_factory: pytest.TempPathFactory) -> PackPlan:
    """Twelve clips: three shards. The seventh is broken."""
    root = tmp_path_factory.mktemp("twelve")
    for number in range(12):
        write_video(root / f"{number}.mp4", 5 + number, shade=number)
    (root / "6.mp4").write_bytes(b"")
    return plan(root, *(ClipRecord(f"{number}.mp4", "x", "train") for number in range(12)))


@pytest.fixture(scope="module")
def unbroken(twelve: PackPlan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("unbroken") / "pack"
    build(twelve, out)
    return out


class Lazy:
    """An engine that packs one shard after the other, and counts them."""

    def __init__(self) -> None:
        self.packed: list[str] = []

    def __call__(self, tasks: Sequence[ShardTask]):
        for task in tasks:
            self.packed.append(Path(task.name).name)
            yield pack_shard(task)


def die_after_a_shard(plan: PackPlan, out: Path) -> None:
    def die(done: int, total: int, num_bytes: int) -> None:
        if done == 4:
            Folder(out).write(f"{plan.key}/00001.arrow.abc.partial", b"half")
            os.kill(os.getpid(), signal.SIGKILL)

    build_pack(plan, Folder(out), Lazy(), die)


def test_a_killed_pack_goes_on_and_ends_with_the_same_bytes(
    twelve: PackPlan, unbroken: Path, tmp_path: Path
) -> None:
    # no fork: this process has threads
    child = process_context().Process(target=die_after_a_shard, args=(twelve, tmp_path))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert Pack.find(tmp_path) is None
    arrows = [path.name for path in tmp_path.rglob("*.arrow")]
    assert arrows == ["00000.arrow"]
    engine = Lazy()
    build(twelve, tmp_path, engine)
    assert engine.packed == ["00001.arrow", "00002.arrow"]
    assert checksums(tmp_path) == checksums(unbroken)


def test_processes_pack_the_same_bytes(twelve: PackPlan, unbroken: Path, tmp_path: Path) -> None:
    build(twelve, tmp_path, by_processes(2))
    assert checksums(tmp_path) == checksums(unbroken)


class Deadly(ClipRecord):
    """Kills the process that decodes it, as a decoder's segmentation fault does."""

    def __getattribute__(self, name: str) -> object:
        if name == "start_s" and multiprocessing.parent_process() is not None:
            os.kill(os.getpid(), signal.SIGSEGV)
        return super().__getattribute__(name)


class Endless(ClipRecord):
    """Holds the process that decodes it for ever, as a decoder that hangs does."""

    def __getattribute__(self, name: str) -> object:
        if name == "start_s" and multiprocessing.parent_process() is not None:
            time.sleep(10_000)
        return super().__getattribute__(name)


@pytest.mark.parametrize(
    ("harm", "engine", "reason"),
    [
        (Deadly, by_processes(1), "decoder crashed"),
        (Endless, by_processes(1, max_clip_s=3), "decoder took longer than 3 s"),
    ],
)
def test_a_clip_that_kills_or_hangs_its_decoder_costs_that_clip_alone(
    tmp_path: Path, harm: type[ClipRecord], engine: Engine, reason: str
) -> None:
    for number in range(6):
        write_video(tmp_path / f"{number}.mp4", 5 + number)
    records = [ClipRecord(f"{number}.mp4", "x", "train") for number in range(6)]
    records[2] = harm("2.mp4", "x", "train")
    outcome, reader = build(plan(tmp_path, *records), tmp_path / "out", engine)
    assert [record.status for record in outcome] == ["ok", "ok", "unreadable", "ok", "ok", "ok"]
    assert outcome[2].reason == reason
    assert len(reader) == 5


def test_an_address_packs_the_same_bytes(twelve: PackPlan, unbroken: Path, tmp_path: Path) -> None:
    folder = Folder(f"file://{tmp_path}/a b")
    build_pack(twelve, folder, here, lambda *_: None)  # type: ignore[arg-type]
    assert folder.local == tmp_path / "a b"
    assert checksums(tmp_path / "a b") == checksums(unbroken)


def test_packing_anew_replaces_the_old_pack_in_one_step(twelve: PackPlan, tmp_path: Path) -> None:
    _, old = build(twelve, tmp_path)
    smaller = plan_pack(twelve.root, twelve.records, replace(PARAMETERS, size_px=16))
    before = old.read(0)[1][np.arange(5)]
    _, new = build(smaller, tmp_path)
    assert new.read(0)[1][np.arange(5)].shape[1:3] == (16, 24)
    assert {path.name for path in tmp_path.iterdir()} == {"pack.json", smaller.key}
    np.testing.assert_array_equal(old.read(0)[1][np.arange(5)], before)  # still mapped


def test_a_pack_says_what_it_is_and_notices_damage(unbroken: Path, tmp_path: Path) -> None:
    described = json.loads((unbroken / "pack.json").read_text())
    assert described["parameters"]["size_px"] == 20
    assert [shard["num_clips"] for shard in described["shards"]] == [4, 3, 4]
    (tmp_path / "copy").mkdir()
    copy = tmp_path / "copy"
    for name in checksums(unbroken):
        (copy / name).parent.mkdir(exist_ok=True)
        (copy / name).write_bytes((unbroken / name).read_bytes())
    pack = Pack.find(copy)
    assert pack is not None
    assert damaged_files(pack, lambda done, total: None) == []
    name = described["shards"][1]["file"]
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    assert damaged_files(pack, lambda done, total: None) == [name]
    (copy / name).write_bytes(content[:-100])
    with pytest.raises(UserError, match=r"the pack is damaged: remove .* and pack again"):
        Pack.find(copy)


@pytest.fixture
def s3_uri() -> Iterator[str]:
    """A folder in a bucket of a server on loopback that speaks S3."""
    with object_store() as (address, _):
        yield address("pack")


def test_a_pack_in_an_object_store_is_fetched_once_and_checked(
    twelve: PackPlan, unbroken: Path, tmp_path: Path, s3_uri: str
) -> None:
    store = Folder(s3_uri)
    assert fetch_pack(store, tmp_path, lambda *_: None) is None
    build_pack(twelve, store, Lazy(), lambda *_: None)
    assert store.local is None
    local = fetch_pack(store, tmp_path, lambda *_: None)
    assert local is not None
    assert checksums(local) == checksums(unbroken) | {".lock": hashlib.sha256(b"").hexdigest()}
    fetched: list[int] = []
    assert fetch_pack(store, tmp_path, lambda done, total: fetched.append(done)) == local
    assert fetched == []
    store.write(f"{twelve.key}/00001.arrow", b"damaged")
    with pytest.raises(UserError, match=r"00001\.arrow must have the checksum"):
        fetch_pack(store, tmp_path / "other", lambda *_: None)


@pytest.mark.parametrize(
    ("old", "new"),
    [('"key": "{key}"', '"key": "../precious"'), ("{key}/00000.arrow", "../outside.arrow")],
)
def test_names_in_a_foreign_description_lead_nowhere_else(
    unbroken: Path, tmp_path: Path, old: str, new: str
) -> None:
    described = (unbroken / "pack.json").read_text()
    key = json.loads(described)["key"]
    (tmp_path / "pack.json").write_text(described.replace(old.format(key=key), new))
    with pytest.raises(UserError, match="must be the description of a pack"):
        Pack.find(tmp_path)


def test_a_relative_folder_means_the_same_in_every_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sent = pickle.dumps(Folder("out"))
    monkeypatch.chdir("/")
    assert pickle.loads(sent).local == tmp_path / "out"


def test_files_that_other_machines_wrote_elsewhere_are_missed(
    twelve: PackPlan, tmp_path: Path
) -> None:
    def elsewhere(tasks: Sequence[ShardTask]) -> Iterator[ShardResult]:
        for task in tasks:
            yield pack_shard(replace(task, folder=Folder(tmp_path / "elsewhere")))

    with pytest.raises(UserError, match=r"00000\.arrow must have [0-9]+ bytes, but is not there"):
        build_pack(twelve, Folder(tmp_path / "out"), elsewhere, lambda *_: None)
    assert Pack.find(tmp_path / "out") is None


@pytest.mark.parametrize(
    "content", [b"PK\x03\x04 no archive", np.array([1 + 2j, 3]).tobytes(), b"\x93NUMPY\x01\x00"]
)
def test_landmarks_of_any_bytes_cost_one_clip(tmp_path: Path, content: bytes) -> None:
    write_video(tmp_path / "a.mp4", 6)
    (tmp_path / "a.npy").write_bytes(content)
    record = ClipRecord("a.mp4", "x", "train", keypoints="a.npy")
    outcome, _ = build(plan(tmp_path, record), tmp_path / "out")
    assert outcome[0].status == "unreadable"
    assert "keypoints a.npy" in outcome[0].reason
