from __future__ import annotations

import json
from pathlib import Path

import pytest

from slrtune.config.errors import UserError
from slrtune.data.manifest import ClipRecord
from tests.data.formats.listed import index_file, touch


def test_frames_count_from_one_and_include_the_last(tmp_path: Path) -> None:
    def instance(video_id: str, start: int, end: int) -> dict[str, object]:
        window = {"frame_start": start, "frame_end": end}
        return {"video_id": video_id, "split": "train", "signer_id": 7, **window}

    touch(tmp_path, "videos/001.mp4", "videos/002.mkv", "videos/003/1.jpg", "videos/001.swf")
    instances = [instance("001", 1, -1), instance("002", 11, 20), instance("003", 1, 5)]
    annotations = tmp_path / "WLASL_v0.3.json"
    annotations.write_text(json.dumps([{"gloss": "book", "instances": instances}]))
    assert index_file(annotations, tmp_path / "videos", source="wlasl") == [
        ClipRecord("001.mp4", "book", "train", "7", label_id=0),
        ClipRecord("002.mkv", "book", "train", "7", label_id=0, start_frame=10, end_frame=20),
        ClipRecord("003", "book", "train", "7", label_id=0, end_frame=5),
    ]


@pytest.mark.parametrize("content", ["{", '{"1": {"subset": "train"}}', '[{"gloss": "x"}]', "3"])
def test_annotations_that_are_not_wlasls_are_refused(tmp_path: Path, content: str) -> None:
    annotations = tmp_path / "nslt_100.json"
    annotations.write_text(content)
    with pytest.raises(UserError, match=r"nslt_100\.json: .*must be"):
        index_file(annotations, source="wlasl")


def test_a_subset_calls_its_classes_by_number_where_no_list_names_them(tmp_path: Path) -> None:
    annotations = tmp_path / "nslt_100.json"
    annotations.write_text('{"1": {"subset": "train", "action": [7, 1, 5]}}')
    assert [(r.gloss, r.label_id) for r in index_file(annotations)] == [("7", 7)]
    (tmp_path / "wlasl_class_list.txt").write_text("7\tgo\r\n8\tcome\r\n")
    assert [(r.gloss, r.label_id) for r in index_file(annotations)] == [("go", 7)]


def test_a_class_list_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "nslt_100.json").write_text('{"1": {"subset": "train", "action": [0, 1, 5]}}')
    (tmp_path / "wlasl_class_list.txt").write_text("book\n")
    with pytest.raises(UserError, match="take WLASL's own wlasl_class_list"):
        index_file(tmp_path / "nslt_100.json")
