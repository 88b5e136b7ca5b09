"""Where clips lie and what tables leave out: layouts that were once read wrongly."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from slrtune.config.errors import UserError
from slrtune.data.coverage import write_coverage_report
from slrtune.data.formats.files import VideoFiles
from slrtune.data.formats.generic_csv import unused_of
from slrtune.data.index import index_clips
from slrtune.data.manifest import write_manifest
from tests.data.conftest import make_config
from tests.data.formats.listed import index_file, touch


def test_many_clips_of_one_name_are_found_by_their_folder(tmp_path: Path) -> None:
    files = VideoFiles(tmp_path)
    paths = [f"train/{number:05}/1" for number in range(6000)]
    files.__dict__["_by_path"] = dict(zip(paths, paths, strict=True))
    begin = time.process_time()
    assert all(files.find(f"{n:05}/1", "train") == (paths[n], "") for n in range(6000))
    assert time.process_time() - begin < 2  # quadratic: minutes


def test_a_path_may_begin_at_the_annotations_folder(tmp_path: Path) -> None:
    touch(tmp_path, "videos/a.mp4", "other/b.mp4", "annotations/c.mp4")
    file = tmp_path / "annotations" / "x.csv"
    file.write_text("path,label\n../videos/a.mp4,x\n..\\other\\b.mp4,y\n../videos/gone.mp4,z\n")
    expected = {
        tmp_path: ["videos/a.mp4", "other/b.mp4", "missing"],
        tmp_path / "videos": ["a.mp4", "../other/b.mp4", "missing"],
        tmp_path / "annotations": ["../videos/a.mp4", "../other/b.mp4", "missing"],
    }
    for root, paths in expected.items():
        records = index_file(file, root)
        assert [r.path if r.status == "found" else r.status for r in records] == paths
        assert all((root / r.path).is_file() for r in records if r.status == "found")


@pytest.mark.parametrize("clip", ["HELLO/1.jpg", "1.mp4"])
def test_splits_without_gloss_folders_are_no_glosses(tmp_path: Path, clip: str) -> None:
    touch(tmp_path, f"train/{clip}", f"test/{clip}")
    with pytest.raises(
        UserError, match=r"test and train look like splits.*<split>/<gloss>/<clip>/"
    ):
        index_clips(make_config(), tmp_path)


def test_missing_rows_of_a_manifest_are_looked_for_again(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("path,label\na,x\nb,y\nc,z\n")
    manifest = tmp_path / "m.parquet"
    write_manifest(manifest, index_file(tmp_path / "l.csv"))
    touch(tmp_path, "videos/a.mp4", "images/b/1/001.png")
    assert [(r.path, r.status) for r in index_file(manifest)] == [
        ("videos/a.mp4", "found"), ("images/b/1", "found"), ("c", "missing"),
    ]  # fmt: skip


def test_autsl_has_no_header(tmp_path: Path) -> None:
    touch(tmp_path, "train/signer0_sample1_color.mp4", "train/signer0_sample1_depth.mp4")
    file = tmp_path / "train_labels.csv"
    file.write_text("signer0_sample1,41\nsigner12_sample3,7\n")
    first, second = index_file(file)
    assert (first.path, first.status) == ("train/signer0_sample1_color.mp4", "found")
    assert (first.gloss, first.label_id, first.signer, first.split) == ("41", 41, "0", "train")
    assert (second.path, second.signer) == ("signer12_sample3_color.mp4", "12")
    file.write_text("a.mp4,book\nb.mp4,\n")
    with pytest.raises(UserError, match="csv:2: clip and label must not be empty"):
        index_file(file)
    file.write_text("a.mp4,book\nval/b.mp4,drink\n")
    assert [(r.path, r.gloss, r.split) for r in index_file(file)] == [
        ("a.mp4", "book", "train"),
        ("val/b.mp4", "drink", "val"),
    ]


def test_columns_that_nothing_is_read_from_are_known(tmp_path: Path) -> None:
    file = tmp_path / "l.csv"
    file.write_text("Path,label,start,end,Fps\n")
    assert unused_of(file, {}) == ("start", "end", "Fps")
    assert unused_of(file, {"start_s": "start"}) == ("end", "Fps")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [("a.json", "[]", "is empty"), ("a.mp4", "\0", "is a video; name its folder")],
)
def test_what_lists_no_clips_is_called_by_what_it_is(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=message):
        index_file(tmp_path / name)


def test_a_report_replaces_the_old_one_at_once(tmp_path: Path) -> None:
    write_coverage_report(tmp_path / "r.csv", [])
    assert [path.name for path in tmp_path.iterdir()] == ["r.csv"]
