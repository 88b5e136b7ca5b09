"""`slrtune evaluate` and `slrtune translate` of a translator, as a user calls them."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from slrtune.cli.main import app, main
from slrtune.config.errors import UserError
from slrtune.training.checkpoint import read_checkpoint
from tests.data.videos import encode, write_half_video
from tests.spelled_colors import COLORS, spelled


@pytest.fixture
def run(spelled_run: Path, tmp_path: Path) -> Path:
    """A copy of the trained translator."""
    return shutil.copytree(spelled_run, tmp_path / "run")


def call(*arguments: object) -> None:
    app([*map(str, arguments)], standalone_mode=False)


def refusal_of(*arguments: object) -> str:
    with pytest.raises(UserError) as caught:
        call(*arguments)
    return str(caught.value)


def test_a_translator_is_judged_by_every_way_of_decoding(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call("evaluate", run)
    printed = capsys.readouterr().out
    for what in ("BLEU-4", "ROUGE-L", "ctc_beam", "tok:13a", "jiwer", "8 clips"):
        assert what in printed
    folder = run / "evaluation_test"
    methods = json.loads((folder / "metrics.json").read_text())["methods"]
    assert list(methods) == ["ctc", "ctc_beam", "greedy", "beam", "joint"]
    for method, figures in methods.items():
        assert figures["wer"] < 0.15 and figures["bleu4"] > 75, method
    rows = list(csv.DictReader((folder / "translations.csv").open()))
    assert [row["ctc"] == row["sentence"] for row in rows].count(True) >= 6
    assert all(0 < float(row["beam_confidence"]) <= 1 for row in rows)


def test_training_sentences_are_known_by_heart(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # best.pt is of the epoch that did best on eight other sentences; the last knows these best
    best, last = (read_checkpoint(run / "checkpoints" / f"{name}.pt") for name in ("best", "last"))
    torch.save({**best, "model": last["model"]}, run / "by_heart.pt")
    decode = ("--decode", "greedy", "--decode", "beam")
    call("evaluate", run / "by_heart.pt", "--split", "train", *decode)
    assert "not a figure to report" in capsys.readouterr().out
    record = json.loads((run / "evaluation_train" / "metrics.json").read_text())
    assert record["num_clips"] == 128
    assert record["methods"]["greedy"]["bleu4"] > 95 < record["methods"]["beam"]["bleu4"]


def test_videos_are_translated_and_a_bad_one_is_told_with_its_reason(
    run: Path, spelled_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    rows = list(csv.DictReader((spelled_root / "labels.csv").open()))
    clip = next(row for row in rows if row["split"] == "test" and row["path"].startswith("-"))
    monkeypatch.chdir(spelled_root)
    half = write_half_video(tmp_path / "half.mp4")
    monkeypatch.setattr(
        "sys.argv",
        ["slrtune", "translate", "--checkpoint", str(run), "--decode", "ctc", "--precision",
         "bf16", "--", "nothing.mp4", str(half), clip["path"]],
    )  # fmt: skip
    with pytest.raises(SystemExit) as exit_of:
        main()
    assert exit_of.value.code == 2
    printed = capsys.readouterr()
    assert f"{clip['path']}: {clip['sentence']}  [" in printed.out and " ms" in printed.out
    assert "bf16 changed the logits of the first clip by" in printed.out
    assert "nothing.mp4: no such file" in printed.err
    assert "half.mp4: truncated or damaged" in printed.err


def test_a_long_video_is_read_in_windows(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(7)
    letters = [letter for letter in COLORS if letter != " "]
    words = ["".join(rng.permutation(letters)[:2]) for _ in range(30)]
    text = " ".join(words)
    long = encode(tmp_path / "long.mp4", spelled(text, rng))
    call("translate", long, "--checkpoint", run, "--stream")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 8  # as it goes
    read = lines[-1].split(": ", 1)[1].split("  [")[0].split()
    assert sum(word in words for word in read) >= 24 and abs(len(read) - 30) <= 4


def test_what_cannot_be_asked_of_a_model_is_refused(
    run: Path, colors_run: Path, spelled_root: Path
) -> None:
    assert "must be a translator" in refusal_of("translate", "a.mp4", "--checkpoint", colors_run)
    assert "is for translators" in refusal_of("evaluate", colors_run, "--decode", "beam")
    assert "must be of ctc, ctc_beam" in refusal_of("evaluate", run, "--decode", "beem")
    assert "translates; leave them out" in refusal_of("evaluate", run, "--views", "3")
    assert "must be ctc with --stream" in refusal_of(
        "translate", "a.mp4", "--checkpoint", run, "--stream", "--decode", "beam"
    )
    assert "is for --stream" in refusal_of(
        "translate", "a.mp4", "--checkpoint", run, "--window-s", "2"
    )
