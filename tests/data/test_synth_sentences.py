from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from slrtune.cli.main import app
from slrtune.config.errors import UserError
from slrtune.data.prepare import prepare_data
from slrtune.data.synth.letters import REST
from slrtune.data.synth.motion import pose_track
from slrtune.data.synth.sentences import LEXICON, SentenceSettings
from slrtune.data.synth.signer import make_signer
from tests.data.conftest import make_config

VALUES = {
    "source": "fingerspelling_words", "synth_num_signers": 3, "synth_clips_per_signer": 2,
    "synth_letter_s": 0.2,
}  # fmt: skip


def test_signers_spell_short_sentences_of_the_lexicon_and_repeat_none() -> None:
    clips = SentenceSettings(num_signers=16).clips()
    by_signer: dict[int, list[str]] = {}
    for clip in clips:
        by_signer.setdefault(clip.signer, []).append(clip.label)
        assert 5 <= len(clip.label) <= 12 and set(clip.label.split()) <= set(LEXICON)
        assert clip.text == clip.label.upper()
    assert [len(set(own)) for own in by_signer.values()] == [28] * 10 + [14] * 6
    train = [clip.label for clip in clips if clip.path.startswith("train/")]
    assert {word for text in train for word in text.split()} == set(LEXICON)
    assert {clip.label.count(" ") for clip in clips} == {0, 1, 2}


def test_sentences_depend_on_the_seed_alone() -> None:
    few, many = SentenceSettings(num_signers=4), SentenceSettings(num_signers=9)
    assert few.clips()[:28] == many.clips()[:28]
    assert SentenceSettings(seed=1).clips() != SentenceSettings().clips()


def test_the_hand_rests_between_words() -> None:
    signer = make_signer(0, 0)
    track = pose_track("BUS CAR", signer, 10, np.random.default_rng(0), 0.4)
    distance = np.abs(track - signer.habit - REST.to_vector())[:, -1]  # how high the hand is
    middle = distance[len(distance) // 3 : 2 * len(distance) // 3]
    assert middle.min() < 0.1 < 0.25 < distance.max()


@pytest.mark.parametrize(
    "values", [{"max_words": 4}, {"clips_per_signer": 0}, {"max_words": 1, "clips_per_signer": 99}]
)
def test_bad_settings_name_the_rule(values: dict) -> None:
    with pytest.raises(UserError, match="must be"):
        SentenceSettings(**values)


def test_spelled_sentences_are_translation_data_without_glosses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = make_config(**VALUES, cache_dir=tmp_path)
    prepared = prepare_data(config, num_workers=1, needs="sentence")
    assert prepared.glosses == ()
    assert {name: part.usable for name, part in prepared.coverage.splits.items()} == {
        "test": 1, "train": 2, "val": 1
    }  # fmt: skip
    rows = list(csv.DictReader((prepared.root / "labels.csv").open()))
    assert prepared.sentences("train") == [r["sentence"] for r in rows if r["split"] == "train"]
    clips = prepared.dataset("train", is_training=False, seed=0)
    assert len(clips) == 2 and {clips[i].label for i in range(2)} == {0}
    with pytest.raises(UserError, match="must have a gloss to be recognized"):
        prepare_data(config)
    app(["data", "stats", str(prepared.root)], standalone_mode=False)
    printed = capsys.readouterr().out
    assert "sentences: 4, 4 different" in printed and "words per sentence" in printed
    assert "clips per gloss" not in printed
