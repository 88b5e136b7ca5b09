"""Numbers and names that no manifest can hold: refused with their place, all of a file at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slrtune.config.errors import UserError
from tests.data.formats.listed import index_file
from tests.data.formats.test_msasl import entry


def refusal_of(file: Path, content: str) -> str:
    file.write_text(content)
    with pytest.raises(UserError) as refusal:
        index_file(file)
    return str(refusal.value)


def test_numbers_of_a_table_must_be_such_as_a_manifest_holds(tmp_path: Path) -> None:
    rows = [
        "a,x,inf,1,1", "a,x,1e30,1,1", "a,x,1.5,1,1", "a,x,1,99999999999,1", "a,x,1,1,nan",
        "a,x,12.0,7,640",
    ]  # fmt: skip
    header = "path,label,start_frame,label_id,xmin,ymin,xmax,ymax"
    message = refusal_of(
        tmp_path / "list.csv", "\n".join([header, *(f"{row},2,3,4" for row in rows)])
    )
    assert len(message.splitlines()) == 5
    assert "list.csv:2: start_frame must be a number, but is 'inf'" in message
    assert "list.csv:3: start_frame must be a whole number from" in message
    assert "list.csv:4: start_frame must be a whole number" in message
    assert "list.csv:5: label_id must be a whole number from 0 to 2147483647" in message
    assert "list.csv:6: left must be a number, but is 'nan'" in message


def test_frames_of_phoenix_and_seconds_of_how2sign_must_be_numbers(tmp_path: Path) -> None:
    header = "name|video|start|end|speaker|orth|translation\n"
    rows = "x|x/1/*.png|abc|-1|S|A|b\n|x|-1|-1|S|A|b\ny|y/1/*.png|-1|1e99|S|A|b\n"
    message = refusal_of(tmp_path / "dev.corpus.csv", header + rows)
    assert "csv:2: start must be a number, but is 'abc'" in message
    assert "csv:3: name must not be empty" in message
    assert "csv:4: end must be a whole number" in message
    header = "VIDEO_NAME\tSENTENCE_NAME\tSTART\tEND\tSENTENCE\n"
    assert "csv:2: END must be a number" in refusal_of(
        tmp_path / "how2sign_val.csv", header + "v\ts\t1\tinf\tHi.\n"
    )


def test_a_class_of_msasl_must_be_in_its_list(tmp_path: Path) -> None:
    broken = [entry(label=-1), entry(label=2), entry(start_time=None), entry(url=None)]
    content = json.dumps([entry(), *broken]).replace('"label": 2', '"label": 1e400')
    message = refusal_of(tmp_path / "MSASL_train.json", content)
    assert "entry 2 breaks MS-ASL's format (label must be a whole number from 0" in message
    assert "entry 3 breaks MS-ASL's format (label must be a number, but is inf" in message
    assert "entry 4" in message and "entry 5" in message
    (tmp_path / "MSASL_classes.json").write_text('["hello", "match"]')
    message = refusal_of(tmp_path / "MSASL_train.json", json.dumps([entry(label=2)]))
    assert "label must be one of the 2 in MSASL_classes.json, but is 2" in message


def test_all_broken_entries_of_wlasl_are_named_at_once(tmp_path: Path) -> None:
    good = {"video_id": "1", "split": "train", "frame_start": 1, "frame_end": -1}
    instances = [good, good | {"split": None}, good | {"frame_end": 1e30}, {"video_id": "2"}]
    content = [{"gloss": "book", "instances": instances}, {"gloss": "drink"}]
    message = refusal_of(tmp_path / "WLASL_v0.3.json", json.dumps(content))
    assert len(message.splitlines()) == 4
    assert "entry 1 (book), instance 2, must be" in message and "split must be a text" in message
    assert "instance 3" in message and "frame_end must be a whole number" in message
    assert "it has no 'frame_start'" in message
    assert "entry 2 must be" in message
    subset = {"1": {"subset": "train", "action": [-1, 1, 5]}, "2": {"subset": None, "action": [0]}}
    (tmp_path / "WLASL_v0.3.json").unlink()
    message = refusal_of(tmp_path / "nslt_100.json", json.dumps(subset))
    assert "video 1 must be" in message and "video 2 must be" in message
