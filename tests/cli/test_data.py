"""`slrtune data`: from files to a manifest, tables and pictures, in this process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from slrtune.cli.main import app
from slrtune.config.errors import UserError
from slrtune.data.manifest import read_manifest
from tests.data.videos import write_video

KARSL = Path(__file__).parents[3] / "shared" / "data" / "karsl"


def run(*arguments: object) -> None:
    app(["data", *map(str, arguments)], standalone_mode=False)


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """Three clips of two signs and two signers in a table of its own making, one of them lost."""
    for number in range(3):
        write_video(tmp_path / f"-{number}.mp4", 12, shade=number)
    rows = ["Film;Zeichen;Person", "-0;Buch;a", "-1;Buch;b", "-2;Haus;b", "-3;Haus;b"]
    (tmp_path / "liste.csv").write_text("\n".join(rows))
    return tmp_path


MAPPING = ("--column", "path=Film", "--column", "label=Zeichen", "--column", "signer=Person")


def test_a_table_becomes_a_manifest_a_report_and_statistics(
    videos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest, report = videos / "m.parquet", videos / "report.csv"
    run("index", videos / "liste.csv", *MAPPING, "--out", manifest, "--report", report)
    printed = capsys.readouterr().out
    assert "75.0%" in printed
    assert "Haus 1/2 (train)" in printed
    assert "train,Haus,2,1,1,missing:1" in report.read_text()
    assert [record.status for record in read_manifest(manifest)] == ["ok"] * 3 + ["missing"]
    run("stats", manifest, "--out", videos / "stats.png")
    assert "48x32 3" in capsys.readouterr().out
    assert Image.open(videos / "stats.png").size[0] > 600


def test_splits_are_drawn_by_signer(videos: Path) -> None:
    out = videos / "m.parquet"
    drawn = ("--split-by", "signer", "--val-fraction", "0.3")
    run("index", videos, "--annotations", videos / "liste.csv", *MAPPING, *drawn, "--out", out)
    splits = {record.signer: record.split for record in read_manifest(out)}
    assert sorted(splits.values()) == ["train", "val"]


def test_a_preview_shows_a_clip_of_each_gloss(videos: Path) -> None:
    out = videos / "p.png"
    run("preview", out, "--annotations", videos / "liste.csv", *MAPPING, "--frames", "8")
    one_row = Image.open(out).size
    run("preview", out, "--annotations", videos / "liste.csv", *MAPPING, "--glosses", "1")
    assert one_row[0] > Image.open(out).size[0]


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        (["--column", "path"], "--column: must look like path=NAME"),
        (["--format", "tape"], "data.source must be"),
        (["--format", "phoenix"], "must have PHOENIX's columns"),
        (["--split-by", "signer"], "data.val_fraction must be > 0"),
        (["--split-by", "moon", "--val-fraction", "0.2"], "data.split_by must be"),
        (["--val-fraction", "2"], "data.val_fraction must be"),
    ],
)
def test_a_wrong_option_is_refused_with_its_rule(
    videos: Path, arguments: list[str], rule: str
) -> None:
    with pytest.raises(UserError) as refusal:
        run("index", videos / "liste.csv", *arguments)
    assert rule in str(refusal.value)


def test_annotations_without_videos_have_no_coverage_and_are_no_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = {
        "url": "youtu.be/-abcdefghij",
        "label": 0,
        "text": "hi",
        "start_time": 0,
        "end_time": 1,
    }
    (tmp_path / "MSASL_test.json").write_text(json.dumps([entry]))
    run("index", tmp_path / "MSASL_test.json")
    printed = capsys.readouterr().out
    assert "0.0%" in printed
    assert "left out: -abcdefghij.mp4: missing: no such file" in printed
    assert "split test: 1 gloss(es) without a clip: hi" in printed


def test_leaks_are_counted_and_shown_and_unused_columns_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_video(tmp_path / "a.mp4", 12)
    rows = ["path,label,split,start", "a,x,train,0", "a,x,test,0"]
    (tmp_path / "l.csv").write_text("\n".join(rows))
    run("stats", tmp_path / "l.csv")
    assert "duplicate 1" in capsys.readouterr().out
    run("preview", tmp_path / "p.png", "--annotations", tmp_path / "l.csv", "--split", "test")
    run("index", tmp_path / "l.csv", "--drop-leaks")
    printed = " ".join(capsys.readouterr().out.split())
    assert "columns not used: start; map them with --column start_s=start" in printed


@pytest.mark.skipif(not KARSL.is_dir(), reason="no ../shared/data/karsl beside the checkout")
@pytest.mark.parametrize(("data", "count"), [("labels.csv", 70), ("videos", 70), ("frames", 6)])
def test_real_clips_index_from_a_table_from_folders_and_from_frames(
    tmp_path: Path, data: str, count: int
) -> None:
    run("index", KARSL / data, "--out", tmp_path / "m.parquet")
    records = read_manifest(tmp_path / "m.parquet")
    assert [record.status for record in records] == ["ok"] * count
    assert all(record.content_hash and record.width == 256 for record in records)
