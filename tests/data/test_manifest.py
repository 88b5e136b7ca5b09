from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from slrtune.config.errors import UserError
from slrtune.data.coverage import Coverage, SplitCoverage, write_coverage_report
from slrtune.data.manifest import ClipRecord, read_manifest, write_manifest

RECORDS = (
    ClipRecord(
        "a/1.mp4",
        "قلم",
        "train",
        "01",
        "ما هذا؟",
        4,
        3,
        9,
        box=(1, 2, 30, 31.5),
        box_unit="px",
        keypoints="a/1.npy",
        num_frames=12,
        fps=25.0,
        width=48,
        height=32,
        content_hash="ab",
        status="ok",
    ),
    ClipRecord("a/2.mp4", "book", "train", status="missing", reason="no such file"),
    ClipRecord("b/3.mp4", "book", "val", status="unreadable", reason="zero bytes"),
    ClipRecord("b/4.mp4", "قلم", "val", status="ok"),
)


def test_a_manifest_reads_back_as_written(tmp_path: Path) -> None:
    write_manifest(tmp_path / "manifest.parquet", RECORDS)
    assert read_manifest(tmp_path / "manifest.parquet") == RECORDS
    assert [file.name for file in tmp_path.iterdir()] == ["manifest.parquet"]


def test_seconds_count_in_the_frames_of_the_file() -> None:
    in_seconds = ClipRecord("a.mp4", "x", "train", start_s=1.5, end_s=2.0)
    assert in_seconds.frame_window(fps=30.0) == (45, 60)
    assert in_seconds.frame_window(fps=None) == (None, None)
    in_frames = ClipRecord("a.mp4", "x", "train", start_frame=3)
    assert in_frames.frame_window(fps=30.0) == (3, None)


def test_a_manifest_of_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "manifest.parquet"
    write_manifest(path, RECORDS)
    old = pq.read_table(path).replace_schema_metadata({"slrtune_manifest_version": "0"})
    pq.write_table(old, path)
    with pytest.raises(UserError, match="version must be 2, but is 0"):
        read_manifest(path)


def test_a_file_that_is_no_manifest_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.parquet").write_text("path,gloss")
    with pytest.raises(UserError, match="must be a slrtune manifest"):
        read_manifest(tmp_path / "manifest.parquet")


def test_coverage_counts_and_names_what_was_lost() -> None:
    coverage = Coverage.of(RECORDS)
    assert coverage.splits == {"train": SplitCoverage(2, 1, 1), "val": SplitCoverage(2, 2, 1)}
    assert coverage.lost_glosses == {"train": ("book",), "val": ("book",)}
    assert [(clip.path, clip.reason) for clip in coverage.unusable] == [
        ("a/2.mp4", "no such file"),
        ("b/3.mp4", "zero bytes"),
    ]
    assert coverage.glosses["val"] == {
        "book": SplitCoverage(1, 1, 0),
        "قلم": SplitCoverage(1, 1, 1),
    }
    assert coverage.total.share == 0.5


def test_the_report_has_a_row_per_split_and_gloss(tmp_path: Path) -> None:
    write_coverage_report(tmp_path / "report.csv", RECORDS)
    assert (tmp_path / "report.csv").read_text(encoding="utf-8").splitlines() == [
        "split,gloss,listed,found,usable,lost",
        "train,book,1,0,0,missing:1",
        "train,قلم,1,1,1,",
        "val,book,1,1,0,unreadable:1",
        "val,قلم,1,1,1,",
    ]
