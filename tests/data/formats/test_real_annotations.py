"""The field's own annotation files, as their authors publish them."""

from __future__ import annotations

from pathlib import Path

import pytest

from slrtune.data.coverage import Coverage
from slrtune.data.formats.detect import detect_format
from tests.data.formats.listed import index_file


@pytest.mark.parametrize(
    ("name", "format_name", "counts"),
    [
        ("WLASL_v0.3.json", "wlasl", {"train": 14289, "val": 3916, "test": 2878}),
        ("nslt_100.json", "wlasl", {"train": 1442, "val": 338, "test": 258}),
        ("nslt_300.json", "wlasl", {"train": 3549, "val": 901, "test": 668}),
        ("PHOENIX-2014-T.test.corpus.csv", "phoenix", {"test": 642}),
        ("how2sign_realigned_val.csv", "how2sign", {"val": 1741}),
        ("ISLTranslate_first2000.csv", "isltranslate", {"train": 2000}),
    ],
)
def test_without_their_videos_all_clips_are_missing(
    shared_data: Path, tmp_path: Path, name: str, format_name: str, counts: dict[str, int]
) -> None:
    file = shared_data / "annotations" / name
    records = index_file(file, tmp_path)
    assert detect_format(file) == format_name
    coverage = Coverage.of(records)
    assert {split: part.listed for split, part in coverage.splits.items()} == counts
    assert (coverage.total.found, coverage.total.share) == (0, 0.0)
    assert {record.status for record in records} == {"missing"}
    assert all(record.sentence or record.gloss for record in records)


def test_wlasl_names_its_classes_signers_and_boxes(shared_data: Path, tmp_path: Path) -> None:
    records = index_file(shared_data / "annotations" / "WLASL_v0.3.json", tmp_path)
    assert len({record.gloss for record in records}) == 2000
    assert len({record.signer for record in records}) == 119
    first = records[0]
    assert (first.path, first.gloss, first.label_id) == ("69241.mp4", "book", 0)
    assert (first.box, first.box_unit) == ((385, 37, 885, 720), "px")


def test_a_wlasl_subset_takes_boxes_and_signers_from_the_whole(
    shared_data: Path, tmp_path: Path
) -> None:
    records = index_file(shared_data / "annotations" / "nslt_100.json", tmp_path)
    first = records[0]
    assert (first.path, first.gloss, first.label_id) == ("05237.mp4", "basketball", 77)
    assert (first.start_frame, first.end_frame) == (None, 55)
    assert all(record.box and record.signer for record in records)
    assert {record.label_id for record in records} == set(range(100))


def test_phoenix_has_signers_glosses_and_translations(shared_data: Path, tmp_path: Path) -> None:
    name = "PHOENIX-2014-T.test.corpus.csv"
    first = index_file(shared_data / "annotations" / name, tmp_path)[0]
    assert (first.path, first.signer) == ("25October_2010_Monday_tagesschau-17", "Signer01")
    assert first.gloss.startswith("REGEN SCHNEE REGION")
    assert first.sentence is not None and first.sentence.endswith("das klar")
    assert (first.start_frame, first.end_frame) == (None, None)


def test_how2sign_finds_its_cut_sentences_and_names_times_of_the_others(shared_data: Path) -> None:
    file = shared_data / "annotations" / "how2sign_realigned_val.csv"
    records = index_file(file, shared_data / "how2sign")
    cut = [record for record in records if record.status == "found"]
    assert len(cut) == 12
    assert {(record.start_s, record.end_s) for record in cut} == {(None, None)}
    assert all(record.path.startswith(("videos/-", "videos/_")) for record in cut)
    first = records[0]
    assert (first.path, first.start_s, first.end_s) == (
        "-d5dN54tH2E-1-rgb_front.mp4", 12.97, 19.52,
    )  # fmt: skip


def test_a_table_of_videos_and_sentences_is_read_as_it_is(shared_data: Path) -> None:
    records = index_file(shared_data / "how2sign" / "sentences.csv")
    assert len(records) == 12
    assert {record.status for record in records} == {"found"}
    assert records[0].sentence == "I call it painting the wall."
