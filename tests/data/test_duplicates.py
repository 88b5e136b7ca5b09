"""A clip that is listed twice is left out once; in two splits it must not judge what it taught."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from slrtune.config.errors import UserError
from slrtune.data.content_hash import hash_content
from slrtune.data.index import index_clips
from slrtune.data.manifest import ClipRecord
from tests.data.conftest import make_config
from tests.data.videos import write_images, write_video


def index(root: Path, **settings: object) -> tuple[ClipRecord, ...]:
    return index_clips(make_config(**settings), root)


def statuses(root: Path, **settings: object) -> list[str]:
    return [record.status for record in index(root, **settings)]


def write_table(root: Path, *rows: str) -> None:
    (root / "labels.csv").write_text("\n".join(["path,label,split,start_s,end_s,signer", *rows]))


def copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)


def test_a_second_copy_within_a_split_is_a_duplicate(tmp_path: Path) -> None:
    write_video(tmp_path / "train/a/1.mp4")
    write_video(tmp_path / "train/a/2.mp4", shade=9)
    copy(tmp_path / "train/a/1.mp4", tmp_path / "train/b/9.mp4")
    *_, last = index(tmp_path)
    assert statuses(tmp_path) == ["found", "found", "duplicate"]
    assert last.reason == "same clip as train/a/1.mp4 (train, there as 'a')"


def test_one_content_in_two_splits_is_an_error_with_its_cure(tmp_path: Path) -> None:
    write_video(tmp_path / "train/a/1.mp4")
    copy(tmp_path / "train/a/1.mp4", tmp_path / "test/a/x.mp4")
    with pytest.raises(UserError) as refusal:
        index(tmp_path)
    assert "train/a/1.mp4 in train and test/a/x.mp4 in test" in str(refusal.value)
    assert "--drop-leaks" in str(refusal.value)


def test_a_leak_is_dropped_from_training_on_request(tmp_path: Path) -> None:
    write_video(tmp_path / "train/a/1.mp4")
    for split in ("val", "test"):
        copy(tmp_path / "train/a/1.mp4", tmp_path / split / "a/1.mp4")
    kept = [r.split for r in index(tmp_path, drop_leaks=True) if r.status == "found"]
    assert kept == ["test"]


def test_one_file_that_is_listed_in_two_splits_is_an_error(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4")
    write_table(tmp_path, "a.mp4,x,train", "a.mp4,x,val")
    with pytest.raises(UserError, match=r"a\.mp4 in train and a\.mp4 in val"):
        index(tmp_path)


def test_image_folders_are_compared_by_their_pictures(tmp_path: Path) -> None:
    write_images(tmp_path / "train/a/take")
    shutil.copytree(tmp_path / "train/a/take", tmp_path / "val/a/other")
    with pytest.raises(UserError, match="train/a/take in train"):
        index(tmp_path)
    (tmp_path / "val/a/other/image_3.png").unlink()
    assert statuses(tmp_path) == ["found", "found"]


def test_other_times_of_one_video_are_other_clips(tmp_path: Path) -> None:
    write_video(tmp_path / "long.mp4", 60)
    rows = ["long.mp4,x,train,0,1", "long.mp4,y,test,1,2", "long.mp4,y,val,1.9,2.4"]
    write_table(tmp_path, *rows)
    assert statuses(tmp_path) == ["found"] * 3
    write_table(tmp_path, *rows, "long.mp4,x,train,0.2,1.1")
    assert statuses(tmp_path) == ["found"] * 3 + ["duplicate"]
    write_table(tmp_path, *rows, "long.mp4,x,test,0.2,1.1")
    with pytest.raises(UserError, match=r"long\.mp4 from 0 s in train and long\.mp4 from 0\.2 s"):
        index(tmp_path)


def test_boxes_that_hardly_overlap_are_two_people_and_others_one(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4")
    header = "path,label,split,left,top,right,bottom"
    for left, expected in ((1, "leak"), (20, "found")):
        rows = f"{header}\na.mp4,x,train,0,0,20,30\na.mp4,x,test,{left},0,{left + 20},30\n"
        (tmp_path / "labels.csv").write_text(rows)
        if expected == "found":
            assert statuses(tmp_path) == ["found"] * 2
        else:
            with pytest.raises(UserError, match="a clip must be in one split only"):
                index(tmp_path)


def test_broken_and_missing_files_are_no_leaks(tmp_path: Path) -> None:
    for split in ("train", "val"):
        (tmp_path / split / "a").mkdir(parents=True)
        (tmp_path / split / "a" / "empty.mp4").touch()
        (tmp_path / split / "a" / "page.mp4").write_text("<html>404</html>")
    assert statuses(tmp_path) == ["found"] * 4
    write_table(tmp_path, "gone.mp4,x,train", "gone.mp4,x,val")
    assert statuses(tmp_path) == ["missing"] * 2


def test_drawn_splits_need_no_cure_for_duplicates_go_first(tmp_path: Path) -> None:
    write_video(tmp_path / "train/a/1.mp4")
    copy(tmp_path / "train/a/1.mp4", tmp_path / "test/a/1.mp4")
    assert sorted(statuses(tmp_path, split_by="stratified", val_fraction=0.5)) == [
        "duplicate",
        "found",
    ]


def test_an_end_before_the_beginning_is_out_of_range(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4")
    write_table(tmp_path, "a.mp4,x,train,2,1", "a.mp4,x,train,-1,1", "gone.mp4,x,train,2,1")
    assert statuses(tmp_path) == ["out_of_range", "out_of_range", "missing"]


def test_a_content_hash_depends_on_bytes_alone(tmp_path: Path) -> None:
    a, b = write_video(tmp_path / "a.mp4"), write_video(tmp_path / "b.mp4")
    c = write_video(tmp_path / "c.mp4", shade=7)
    assert hash_content(a) == hash_content(b) != hash_content(c)
