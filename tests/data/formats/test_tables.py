"""Tables of every make: delimiters, encodings, line ends, quotes; and what their columns mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from slrtune.config.errors import UserError
from slrtune.data.formats.detect import detect_format
from slrtune.data.formats.table import read_table
from slrtune.data.manifest import ClipRecord
from tests.data.formats.listed import index_file, touch

HOW2SIGN = (
    "VIDEO_ID", "VIDEO_NAME", "SENTENCE_ID", "SENTENCE_NAME", "START_REALIGNED", "END_REALIGNED",
    "SENTENCE",
)  # fmt: skip


def how2sign_row(number: int, sentence: str) -> tuple[str, ...]:
    return (
        "-a",
        "-a-1-rgb_front",
        f"-a_{number}",
        f"-a_{number}-1-rgb_front",
        "1.5",
        "2.5",
        sentence,
    )


def write_how2sign(file: Path, *sentences: str, delimiter: str = "\t") -> Path:
    rows = [HOW2SIGN, *(how2sign_row(i, sentence) for i, sentence in enumerate(sentences))]
    file.write_text("\n".join(delimiter.join(row) for row in rows) + "\n")
    return file


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_delimiters_encodings_and_line_ends_are_recognized(
    tmp_path: Path, delimiter: str, encoding: str, line_end: str
) -> None:
    rows = [("Path", "Label", "Split"), ("-1.mp4", "किताब", "train"), ("_2.mp4", "كتاب", "val"), ()]
    text = line_end.join(delimiter.join(row) for row in rows)
    (tmp_path / "list.txt").write_bytes(text.encode(encoding))
    assert [(r.path, r.gloss, r.split) for r in index_file(tmp_path / "list.txt")] == [
        ("-1.mp4", "किताब", "train"),
        ("_2.mp4", "كتاب", "val"),
    ]


def test_a_file_in_another_encoding_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_bytes("path,label\na.mp4,süß\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"labels\.csv:2: must be a UTF-8 .* save it as UTF-8"):
        index_file(tmp_path / "labels.csv")


def test_quotes_of_a_sentence_do_not_swallow_the_next_rows(tmp_path: Path) -> None:
    file = write_how2sign(tmp_path / "how2sign_realigned_train.csv", '"Hi', "b", 'so "c" "', "d")
    assert [r.sentence for r in index_file(file)] == ['"Hi', "b", 'so "c" "', "d"]


def test_quotes_within_a_sentence_stay(tmp_path: Path) -> None:
    file = write_how2sign(tmp_path / "how2sign_realigned_train.csv", '"Hi," he said.', "b")
    assert [r.sentence for r in index_file(file)] == ['"Hi," he said.', "b"]


def test_quotes_around_a_sentence_are_taken_off(tmp_path: Path) -> None:
    file = write_how2sign(
        tmp_path / "how2sign_test.csv", '"One, ""two""\nthree"', "four", delimiter=","
    )
    assert [r.sentence for r in index_file(file)] == ['One, "two"\nthree', "four"]


def test_a_sentence_may_hold_the_delimiter_without_quotes(tmp_path: Path) -> None:
    (tmp_path / "ISLTranslate.csv").write_text("uid,text\na-1,Well, come, in.\na-2,Sit.\n")
    assert [r.sentence for r in index_file(tmp_path / "ISLTranslate.csv")] == [
        "Well, come, in.",
        "Sit.",
    ]


@pytest.mark.parametrize(
    "rows",
    [
        'a,"Hi, you\nb,Well\nc,"x, y"\n',  # too wide
        'a,"Hi, you\nb,Well\nc,so "x"\n',  # as wide as it should be
        'a,"Hi\nb,Well, come\nc,d\n',  # to the end of the file
    ],
)
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_a_stray_quote_does_not_swallow_rows_silently(
    tmp_path: Path, rows: str, line_end: str
) -> None:
    text = f"uid,text\n0,ok\n{rows}".replace("\n", line_end)
    (tmp_path / "list.csv").write_bytes(text.encode())
    with pytest.raises(UserError, match=r"list\.csv:3: must close its quotation mark.*line 5"):
        index_file(tmp_path / "list.csv")


def test_how2sign_seconds_lie_in_the_long_video(tmp_path: Path) -> None:
    touch(tmp_path, "raw_videos/-a-1-rgb_front.mp4", "clips/-a_1-1-rgb_front.mp4")
    file = write_how2sign(tmp_path / "how2sign_realigned_test.csv", "Hello.", "Bye.")
    assert index_file(file) == [
        ClipRecord(
            "raw_videos/-a-1-rgb_front.mp4", "", "test", sentence="Hello.", start_s=1.5, end_s=2.5
        ),
        ClipRecord("clips/-a_1-1-rgb_front.mp4", "", "test", sentence="Bye."),
    ]


def test_asl_citizen_gives_gloss_signer_and_split(tmp_path: Path) -> None:
    touch(tmp_path, "videos/00295-DOG 1.mp4")
    (tmp_path / "splits").mkdir()
    file = tmp_path / "splits" / "val.csv"
    rows = "Participant ID,Video file,Gloss,ASL-LEX Code\r\nP52,00295-DOG 1.mp4,DOG1,B_01_040\r\n"
    file.write_text(rows + 'P1,"a,b.mp4","BABY, SMALL",B_02\r\n')
    assert index_file(file, tmp_path) == [
        ClipRecord("videos/00295-DOG 1.mp4", "DOG1", "val", "P52"),
        ClipRecord("a,b.mp4", "BABY, SMALL", "val", "P1", status="missing", reason="no such file"),
    ]


@pytest.mark.parametrize(
    "layout", ["fullFrame/dev/x-17/images0001.png", "x-17/1/im_0.png", "dev/x-17.mp4"]
)
def test_phoenix_clips_are_image_folders_or_videos(tmp_path: Path, layout: str) -> None:
    touch(tmp_path, layout, "fullFrame/train/x-17/images0001.png")
    file = tmp_path / "PHOENIX-2014-T.dev.corpus.csv"
    header = "name|video|start|end|speaker|orth|translation\n"
    file.write_text(header + 'x-17|x-17/1/*.png|-1|-1|Signer01|REGEN|es "regnet\n')
    expected = layout if layout.endswith("mp4") else layout.rsplit("/", 1)[0]
    assert index_file(file) == [
        ClipRecord(expected, "REGEN", "dev", "Signer01", sentence='es "regnet')
    ]


def test_phoenix_2014_without_translations_is_read_too(tmp_path: Path) -> None:
    file = tmp_path / "train.corpus.csv"
    file.write_text("id|folder|signer|annotation\n01x|01x/1/*.png|Signer05|ABER FREUEN\n")
    (record,) = index_file(file)
    assert (record.gloss, record.signer, record.split) == ("ABER FREUEN", "Signer05", "train")


def test_columns_are_mapped_by_hand_and_synonyms_by_themselves(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "b.mp4")
    file = tmp_path / "mine.csv"
    file.write_text("Film,Zeichen,subset,class_id,xmin,ymin,xmax,ymax\na,Buch,dev,0007,1,2,3,4\n")
    assert index_file(file, columns={"path": "Film", "label": "Zeichen"}) == [
        ClipRecord("a.mp4", "Buch", "dev", label_id=7, box=(1, 2, 3, 4), box_unit="px")
    ]
    for columns, message in (
        ({"path": "film", "lable": "x"}, "did you mean label"),
        ({"path": "Datei"}, "'Datei' is none; it has Film, Zeichen"),
        ({"path": "film"}, "must have the columns path and label"),
    ):
        with pytest.raises(UserError, match=message):
            index_file(file, columns=columns)


def test_keypoints_seconds_and_sentences_of_a_table_are_kept(tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    file.write_text("video,sentence,start_s,end_s,keypoints\nx,Hallo.,1,2.5,kp/x.npy\n")
    (record,) = index_file(file)
    assert (record.sentence, record.start_s, record.end_s) == ("Hallo.", 1.0, 2.5)
    assert (record.keypoints, record.gloss) == ("kp/x.npy", "")


def test_values_that_are_no_numbers_are_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("path,label,start_s\na,x,one\nb,x,2\nc,x,three\n")
    with pytest.raises(UserError, match=r"l\.csv:2: .*'one'(.|\n)*l\.csv:4: .*'three'"):
        index_file(tmp_path / "l.csv")


def test_the_split_is_a_column_a_folder_or_the_files_name(tmp_path: Path) -> None:
    for name, rows, expected in (
        ("val.csv", "path,label\na.mp4,x\n", "val"),
        ("list.csv", "path,label\nDev\\a.mp4,x\n", "Dev"),
        ("list2.csv", "path,label\na.mp4,x\n", "train"),
        ("test.csv", "path,label,split\na.mp4,x,train\n", "train"),
    ):
        (tmp_path / name).write_text(rows)
        assert [record.split for record in index_file(tmp_path / name)] == [expected]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x89PNG\r\n\x1a\n", "must be a UTF-8"),
        (b"hello world", "must be an annotation file of a known format"),
        (b'{"videos": [1]}', "WLASL's or MS-ASL's"),
        (b"PAR1 cut off", "must be a slrtune manifest"),
        (b"", "must be an annotation file"),
    ],
)
def test_a_file_of_no_known_format_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(UserError, match=message):
        index_file(tmp_path / "file")


def test_a_format_may_be_named_and_is_then_held_to(tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    file.write_text("uid,text\nx,Hallo.\n")
    assert detect_format(file) == "isltranslate"
    assert index_file(file, source="csv")[0].path == "x"
    for name, message in (
        ("phoenix", "PHOENIX's columns"), ("how2sign", "SENTENCE_NAME"),
        ("asl_citizen", "Participant ID"), ("msasl", "must be a JSON file"),
        ("wlasl", "must be a JSON file"), ("manifest", "must be a slrtune manifest"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=message):
            index_file(file, source=name)


def test_a_table_knows_the_lines_of_its_rows(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('a,b\n\n1,"x\ny"\n2,z\n')
    assert [(row.line, row.get("a")) for row in read_table(tmp_path / "t.csv").rows] == [
        (4, "1"),
        (5, "2"),
    ]
