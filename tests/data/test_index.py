from __future__ import annotations

from pathlib import Path

import pytest

from slrtune.config.data import DataConfig
from slrtune.config.errors import UserError
from slrtune.data.index import index_clips
from slrtune.data.manifest import ClipRecord
from tests.data.conftest import make_config


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def index_folders(root: Path, **values: object) -> list[ClipRecord]:
    return list(index_clips(make_config(**values), root))


def test_a_label_table_is_not_read_where_class_folders_are_asked_for(tmp_path: Path) -> None:
    touch(tmp_path, "book/1.mp4")
    (tmp_path / "labels.csv").write_text("path,label\nbook/1.mp4,drink\n")
    assert [r.gloss for r in index_folders(tmp_path)] == ["drink"]
    assert [r.gloss for r in index_folders(tmp_path, source="class_folders")] == ["book"]


def test_split_folders_and_gloss_folders_give_split_and_gloss(tmp_path: Path) -> None:
    touch(tmp_path, "train/book/10.mp4", "train/book/2.MOV", "dev/كتاب/_a.mp4", "dev/-x/-b.webm")
    touch(tmp_path, ".cache/x/y.mp4", "train/book/Thumbs.db", "train/book/.hidden.mp4")
    assert [(r.split, r.gloss, r.path) for r in index_folders(tmp_path)] == [
        ("dev", "-x", "dev/-x/-b.webm"),
        ("dev", "كتاب", "dev/كتاب/_a.mp4"),
        ("train", "book", "train/book/2.MOV"),
        ("train", "book", "train/book/10.mp4"),
    ]


def test_gloss_folders_without_splits_are_training_data(tmp_path: Path) -> None:
    touch(tmp_path, "test/1.mp4", "book/1.mp4")  # "test" is a sign here: it holds clips itself
    assert [(r.split, r.gloss) for r in index_folders(tmp_path)] == [
        ("train", "book"),
        ("train", "test"),
    ]


def test_image_folders_stand_for_videos(tmp_path: Path) -> None:
    touch(tmp_path, "train/book/take1/1.jpg", "train/book/take2.mp4", "train/book/empty/notes.txt")
    assert [r.path for r in index_folders(tmp_path)] == ["train/book/take1", "train/book/take2.mp4"]


def test_a_link_that_leads_nowhere_is_missing(tmp_path: Path) -> None:
    touch(tmp_path, "train/book/1.mp4")
    (tmp_path / "train/book/2.mp4").symlink_to(tmp_path / "gone.mp4")
    assert [record.status for record in index_folders(tmp_path)] == ["found", "missing"]


def test_one_gloss_spelled_composed_and_decomposed_is_one_gloss(tmp_path: Path) -> None:
    touch(tmp_path, "train/caf\u00e9/1.mp4", "val/cafe\u0301/2.mp4")
    assert len({record.gloss for record in index_folders(tmp_path)}) == 1


def test_split_and_gloss_folders_side_by_side_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "train/book/1.mp4", "drink/1.mp4")
    with pytest.raises(UserError, match=r"has both \(train and drink\)"):
        index_folders(tmp_path)


@pytest.mark.parametrize(("names", "message"), [(["x.mp4"], "none was found"), ([], "a folder")])
def test_a_root_without_clips_is_refused(tmp_path: Path, names: list[str], message: str) -> None:
    touch(tmp_path, *(f"root/{name}" for name in names))
    with pytest.raises(UserError, match=message):
        index_folders(tmp_path / "root")


def test_labels_csv_brings_signers_and_lists_missing_clips(tmp_path: Path) -> None:
    touch(tmp_path, "train/1/a.mp4", "b.mp4")
    rows = "path,label,signer\ntrain/1/a.mp4,قلم,01\nb.mp4,book,\nval/gone.mp4,book,02\n"
    (tmp_path / "labels.csv").write_text("\ufeff" + rows, encoding="utf-8")
    assert index_folders(tmp_path) == [
        ClipRecord("train/1/a.mp4", "قلم", "train", "01"),
        ClipRecord("b.mp4", "book", "train"),
        ClipRecord("val/gone.mp4", "book", "val", "02", status="missing", reason="no such file"),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("film,label\na.mp4,x\n", "path and label .* but has film, label"),
        ("", "but has none"),
        ("path,label\na.mp4,\n", r"labels\.csv:2: path and label must not be empty"),
        ("path,label\n,x\na.mp4,x\nb.mp4,\n", r"csv:2: path(.|\n)*csv:4: path"),
        ("path,label\na.mp4,x,y\n", "2: must have 2 values .* but has 3; put quotes"),
    ],
)
def test_a_faulty_labels_csv_is_refused_with_its_place(
    tmp_path: Path, content: str, message: str
) -> None:
    (tmp_path / "labels.csv").write_text(content)
    with pytest.raises(UserError, match=message):
        index_folders(tmp_path)


def karsl(root: Path) -> list[ClipRecord]:
    return list(index_clips(DataConfig(source="auto"), root))


def test_karsl_class_folders(shared_data: Path) -> None:
    records = karsl(shared_data / "karsl" / "videos")
    assert len({record.gloss for record in records}) == 35
    assert [record.split for record in records] == ["test"] * 35 + ["train"] * 35


def test_karsl_labels_csv_gives_arabic_glosses_and_the_signer(shared_data: Path) -> None:
    records = karsl(shared_data / "karsl")
    assert len(records) == 70
    assert {record.signer for record in records} == {"01"}
    assert {record.status for record in records} == {"found"}
    assert any(not record.gloss.isascii() for record in records)


def test_karsl_image_folders(shared_data: Path) -> None:
    records = karsl(shared_data / "karsl" / "frames")
    assert [record.split for record in records] == ["test"] * 3 + ["train"] * 3
