from __future__ import annotations

import json
from pathlib import Path

import pytest

from slrtune.config.errors import UserError
from slrtune.data.index import index_clips
from slrtune.data.manifest import ClipRecord
from tests.data.conftest import make_config
from tests.data.formats.listed import index_file, touch


def entry(url: str = "https://www.youtube.com/watch?v=C37R_Ix8-qs", **other: object) -> object:
    return {
        "org_text": "match [light-a-MATCH]", "clean_text": "match", "start_time": 0.5,
        "signer_id": 3, "signer": 0, "start": 15, "end": 83, "file": "match", "label": 1,
        "height": 360.0, "fps": 30.0, "end_time": 2.767, "url": url, "text": "match",
        "box": [0.1, 0.2, 1.0, 0.7], "width": 640.0,
    } | other  # fmt: skip


def test_times_are_seconds_and_the_box_a_fraction_from_the_top(tmp_path: Path) -> None:
    touch(tmp_path, "videos/C37R_Ix8-qs.mp4")
    (tmp_path / "MSASL_val.json").write_text(json.dumps([entry()]))
    assert index_file(tmp_path / "MSASL_val.json") == [
        ClipRecord(
            "videos/C37R_Ix8-qs.mp4", "match", "val", "3", label_id=1, start_s=0.5, end_s=2.767,
            box=(0.2, 0.1, 0.7, 1.0), box_unit="fraction",
        )
    ]  # fmt: skip


def test_the_list_of_classes_names_them(tmp_path: Path) -> None:
    (tmp_path / "MSASL_test.json").write_text(json.dumps([entry(text="matches")]))
    (tmp_path / "MSASL_classes.json").write_text('["hello", "match"]')
    assert [r.gloss for r in index_file(tmp_path / "MSASL_test.json")] == ["match"]


@pytest.mark.parametrize(
    "url",
    [
        "www.youtube.com/watch?v=-_abcDEF123&t=9s", "https://youtu.be/-_abcDEF123",
        "https://www.youtube.com/embed/-_abcDEF123?start=2",
        "https://www.youtube.com/watch?feature=share&v=-_abcDEF123",
    ],
)  # fmt: skip
def test_every_spelling_of_an_address_leads_to_the_video(tmp_path: Path, url: str) -> None:
    (tmp_path / "MSASL_train.json").write_text(json.dumps([entry(url)]))
    assert index_file(tmp_path / "MSASL_train.json")[0].path == "-_abcDEF123.mp4"


def test_the_three_files_become_one_list_of_clips(tmp_path: Path) -> None:
    files = [tmp_path / f"MSASL_{split}.json" for split in ("train", "val", "test")]
    for file in files:
        file.write_text(json.dumps([entry(), entry(start_time=9.0, end_time=11.0)]))
    records = index_clips(make_config(annotations=files), tmp_path)
    assert [record.split for record in records] == ["train"] * 2 + ["val"] * 2 + ["test"] * 2


def test_all_broken_entries_are_named_at_once(tmp_path: Path) -> None:
    broken = [entry(), entry(label="x"), entry(), entry(box=[1])]
    (tmp_path / "MSASL_train.json").write_text(json.dumps(broken))
    with pytest.raises(UserError, match=r"entry 2 breaks(.|\n)*entry 4 breaks"):
        index_file(tmp_path / "MSASL_train.json")
