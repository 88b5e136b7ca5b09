from __future__ import annotations

import os
import shlex
import shutil
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from slrtune.config.data import DataConfig
from slrtune.config.errors import UserError
from slrtune.data import rendered
from slrtune.data.disk_bound import use
from slrtune.data.pack.reader import Pack
from slrtune.data.prepare import pack_data, prepare_data
from slrtune.data.prepared import PreparedData
from slrtune.data.workers import process_context
from tests.data.conftest import make_config
from tests.data.videos import write_video

Progress = Callable[[str, int, int], None]


def test_prepared_data_know_glosses_coverage_and_splits(prepared: PreparedData) -> None:
    assert prepared.glosses == ("a", "b", "c")
    assert prepared.coverage.total.share == 1.0
    assert len(prepared.dataset("train", is_training=True, seed=0)) == 11
    assert len(prepared.dataset("val", is_training=False, seed=0)) == 5
    assert prepared.pack.folder.is_relative_to(prepared.config.cache_dir)


def test_preparing_again_does_nothing(prepared: PreparedData, refuse_progress: Progress) -> None:
    assert prepare_data(prepared.config, refuse_progress) == prepared


def test_settings_that_do_not_touch_the_pixels_share_the_cache(
    prepared: PreparedData, refuse_progress: Progress
) -> None:
    other = {"num_frames": 8, "val_split": "held_out", "val_fraction": 0.3, "num_loader_workers": 2}
    again = prepare_data(prepared.config.model_copy(update=other), refuse_progress)
    assert again.pack == prepared.pack
    assert len(again.dataset("held_out", is_training=False, seed=0)) == 3


def test_changed_files_and_changed_parameters_are_decoded_anew(
    clips_root: Path, tmp_path: Path
) -> None:
    root = shutil.copytree(clips_root, tmp_path / "root")
    config = make_config(root=root, cache_dir=tmp_path / "cache")
    first = prepare_data(config, num_workers=1)
    write_video(root / "train" / "a" / "0.mp4", 30)
    changed = prepare_data(config, num_workers=1)
    assert changed.pack.folder != first.pack.folder
    assert changed.records[0].num_frames == 30
    larger = config.model_copy(update={"pack_size_px": 24})
    assert prepare_data(larger, num_workers=1).pack.folder != changed.pack.folder


def test_processes_that_ask_at_once_decode_once(config: DataConfig) -> None:
    reports: list[int] = []

    def ask(_: int) -> PreparedData:
        return prepare_data(config, lambda what, done, total: reports.append(done), num_workers=1)

    with ThreadPoolExecutor(3) as pool:
        first, *others = pool.map(ask, range(3))
    assert all(other == first for other in others)
    assert reports == [0, 4, 8, 12, 16]  # shard by shard


def build_until_killed(config: DataConfig) -> None:
    def die(what: str, done: int, total: int) -> None:
        if done == 4:
            os.kill(os.getpid(), signal.SIGKILL)

    prepare_data(config, die, num_workers=1)


def test_a_build_that_is_killed_leaves_nothing_half_and_can_be_repeated(
    config: DataConfig,
) -> None:
    builder = process_context().Process(target=build_until_killed, args=(config,))
    builder.start()
    builder.join()
    assert builder.exitcode == -signal.SIGKILL
    (folder,) = config.cache_dir.glob("clips-*/")
    assert Pack.find(folder) is None
    reports: list[int] = []
    prepared = prepare_data(config, lambda what, done, total: reports.append(done), num_workers=1)
    assert prepared.coverage.total.usable == 16
    assert reports[0] >= 4  # goes on where it was
    assert prepared.pack.folder == folder
    assert list(folder.rglob("*.partial")) == []


def test_an_undecodable_clip_is_left_out_with_its_reason(tmp_path: Path) -> None:
    for take in range(5):
        write_video(tmp_path / "root" / "book" / f"{take}.mp4", shade=take)
    (tmp_path / "root" / "book" / "-bad.mp4").touch()
    (tmp_path / "root" / "lost").mkdir()
    (tmp_path / "root" / "lost" / "1.mp4").write_text("not a video")
    values = {"root": tmp_path / "root", "cache_dir": tmp_path / "cache", "val_fraction": 0.4}
    prepared = prepare_data(make_config(**values), num_workers=1)
    reasons = {clip.path: clip.reason for clip in prepared.coverage.unusable}
    assert reasons.keys() == {"book/-bad.mp4", "lost/1.mp4"}
    assert reasons["book/-bad.mp4"] == "zero bytes"
    assert prepared.coverage.lost_glosses["train"] == ("lost",)
    assert prepared.glosses == ("book",)
    assert prepared.coverage.splits["val"].usable == 2


def test_an_empty_val_split_is_refused_by_name(prepared: PreparedData) -> None:
    config = prepared.config.model_copy(update={"val_split": "dev"})
    with pytest.raises(UserError, match=r"split 'dev' of .* \(splits found: train 11, val 5\)"):
        prepare_data(config)


def test_a_cache_folder_that_is_none_is_refused(clips_root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    config = make_config(root=clips_root, cache_dir=tmp_path / "file")
    with pytest.raises(UserError, match=r"data\.cache_dir: must be a folder"):
        prepare_data(config)


def test_fingerspelling_is_rendered_on_first_use(
    tmp_path: Path, refuse_progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_letters = partial(rendered.SynthSettings, words=("A", "B"))  # all 26 take long to render
    monkeypatch.setattr(rendered, "SynthSettings", two_letters)
    config = make_config(source="fingerspelling", synth_num_signers=3, cache_dir=tmp_path)
    done: set[str] = set()
    prepared = prepare_data(config, lambda what, *_: done.add(what), num_workers=1)
    assert done == {"rendering fingerspelling videos", "packing clips"}
    assert prepared.glosses == ("A", "B")
    assert {name: part.usable for name, part in prepared.coverage.splits.items()} == {
        "train": 2,
        "val": 2,
        "test": 2,
    }
    assert len({record.signer for record in prepared.records}) == 3
    assert prepare_data(config, refuse_progress) == prepared


def test_karsl_can_be_prepared(shared_data: Path, tmp_path: Path) -> None:
    values = {"root": shared_data / "karsl" / "frames", "val_split": "test", "cache_dir": tmp_path}
    prepared = prepare_data(make_config(**values), num_workers=1)
    assert {name: part.usable for name, part in prepared.coverage.splits.items()} == {
        "test": 3,
        "train": 3,
    }


def say_nothing(what: str, done: int, total: int) -> None:
    pass


@pytest.fixture(scope="module")
def packed(clips_root: Path, tmp_path_factory: pytest.TempPathFactory) -> DataConfig:
    """A configuration with the pack that was made for it."""
    folder = tmp_path_factory.mktemp("packed")
    config = make_config(root=clips_root, cache_dir=folder / "cache", pack=str(folder / "pack"))
    pack_data(config, str(folder / "pack"), say_nothing)
    return config


def test_a_named_pack_holds_what_would_be_packed_by_itself(
    packed: DataConfig, prepared: PreparedData, refuse_progress: Progress
) -> None:
    named = prepare_data(packed, refuse_progress)
    assert (named.records, named.glosses) == (prepared.records, prepared.glosses)
    assert [shard.sha256 for shard in named.pack.facts.shards] == [
        shard.sha256 for shard in prepared.pack.facts.shards
    ]
    assert not packed.cache_dir.exists()


def test_a_pack_is_used_without_its_videos(packed: DataConfig, refuse_progress: Progress) -> None:
    alone = packed.model_copy(update={"root": None})
    assert prepare_data(alone, refuse_progress).coverage.total.usable == 16


def test_a_pack_of_other_settings_is_refused_with_the_command_that_rebuilds_it(
    packed: DataConfig,
) -> None:
    other = packed.model_copy(update={"pack_size_px": 24, "pack_max_frames": 9})
    with pytest.raises(UserError) as refused:
        prepare_data(other)
    message = str(refused.value)
    assert "data.pack_size_px is 20 in the pack and 24 in the configuration" in message
    assert "data.pack_max_frames is 64 in the pack and 9" in message
    words = shlex.split(message.splitlines()[-1])
    assert words[:3] == ["slrtune", "data", "pack"]
    assert {"data.pack_size_px=24", "data.pack_max_frames=9", f"data.root={packed.root}"} < {*words}
    assert words[-2:] == ["--out", packed.pack]


def test_a_pack_of_other_clips_is_refused(packed: DataConfig, tmp_path: Path) -> None:
    assert packed.root is not None
    root = shutil.copytree(packed.root, tmp_path / "root")
    moved = packed.model_copy(update={"root": root})
    assert prepare_data(moved).root == root  # the same clips in another place
    write_video(root / "train" / "a" / "0.mp4", 30)
    with pytest.raises(UserError, match="source files have changed since"):
        prepare_data(moved)
    write_video(root / "train" / "a" / "new.mp4", 30)
    with pytest.raises(UserError, match=r"lists 1 clip\(s\) that the pack does not have"):
        prepare_data(moved)


def test_a_pack_that_is_not_there_is_refused_with_the_command_that_makes_it(
    packed: DataConfig, tmp_path: Path
) -> None:
    gone = packed.model_copy(update={"pack": str(tmp_path)})
    with pytest.raises(UserError, match=r"no pack\.json in .*\n  slrtune data pack --set data"):
        prepare_data(gone)


def test_the_least_recently_used_packs_make_room(clips_root: Path, tmp_path: Path) -> None:
    config = make_config(root=clips_root, cache_dir=tmp_path)
    old, used = tmp_path / "clips-old", tmp_path / "clips-used"
    for age, folder in ((2, used), (1, old)):
        folder.mkdir()
        (folder / "x").write_bytes(bytes(200_000))
        os.utime(folder, (age, age))
    lock = use(used)
    assert lock is not None
    os.utime(used, (0, 0))
    bound = {"cache_size_gib": 700_000 / 2**30}  # the pack needs 290 kB
    prepare_data(config.model_copy(update=bound), num_workers=1)
    assert (used.exists(), old.exists()) == (True, False)
    lock.close()
    bound = {"cache_size_gib": 1e-4, "pack_size_px": 22}
    with pytest.raises(UserError, match=r"data\.cache_size_gib: must hold the packed clips"):
        prepare_data(config.model_copy(update=bound), num_workers=1)
