"""`slrtune evaluate` as a user calls it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from slrtune.cli.main import app, main
from slrtune.config.errors import UserError
from tests.cli_process import run_slrtune


@pytest.fixture
def run(colors_run: Path, tmp_path: Path) -> Path:
    """A copy of the trained run under runs/."""
    return shutil.copytree(colors_run, tmp_path / "runs" / "colors")


def refusal_of(*arguments: object) -> str:
    with pytest.raises(UserError) as caught:
        app(["evaluate", *map(str, arguments)], standalone_mode=False)
    return str(caught.value)


def test_a_run_is_judged_by_name_and_the_figures_lie_beside_it(tmp_path: Path, run: Path) -> None:
    code, output = run_slrtune(["evaluate", "colors", "--views", "2"], tmp_path)
    assert code == 0, output
    assert "Traceback" not in output
    for what in ("8 clips", "4 glosses", "100.0%", "evaluating clips: 8/8", "peak memory"):
        assert what in output
    folder = run / "evaluation_test_2x1_views"
    assert json.loads((folder / "metrics.json").read_text())["views"]["num_temporal"] == 2
    assert sorted(file.suffix for file in folder.iterdir()) == [".csv", ".csv", ".json", ".png"]


def test_bad_input_ends_with_exit_code_2_and_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["slrtune", "evaluate", "nothing.pt"])
    with pytest.raises(SystemExit) as exit_of:
        main()
    assert exit_of.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "there is no such checkpoint" in line


def test_a_sweeps_best_is_taken_and_the_figures_go_where_out_says(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = tmp_path / "sweep"
    sweep.mkdir()
    (sweep / "sweep.json").write_text("{}")
    assert "`slrtune results" in refusal_of(sweep)
    shutil.copy(run / "checkpoints" / "best.pt", sweep)
    app(
        ["evaluate", str(sweep), "--split", "val", "--out", str(tmp_path / "deep" / "out")],
        standalone_mode=False,
    )
    assert "not a figure to report" in capsys.readouterr().out
    assert (tmp_path / "deep" / "out" / "metrics.json").exists()
    assert not (sweep / "evaluation_val").exists()


def test_a_split_that_is_not_there_is_told_with_those_that_are(run: Path) -> None:
    assert "splits found: test 8, train 32, val 12" in refusal_of(run, "--split", "dev")
    assert not (run / "evaluation_dev").exists()


def test_data_that_moved_are_asked_for_and_found_again(run: Path, colors_root: Path) -> None:
    best = run / "checkpoints" / "best.pt"
    content = torch.load(best)
    content["experiment"] = content["experiment"].replace(str(colors_root), "/gone/videos")
    torch.save(content, best)
    message = refusal_of(run)
    assert "there is no /gone/videos" in message
    assert "--set data.root=PATH" in message
    app(["evaluate", str(run), "--set", f"data.root={colors_root}"], standalone_mode=False)
    assert "is not a known key" in refusal_of(run, "--set", "data.roots=x")


def test_files_that_are_no_best_checkpoint_are_refused_by_what_they_are(
    run: Path, tmp_path: Path
) -> None:
    best = run / "checkpoints" / "best.pt"
    whole = best.read_bytes()
    for name, content, rule in (
        ("half.pt", whole[: len(whole) // 2], "restore or train it again"),
        ("text.pt", b"hello", "restore or train it again"),
        ("empty.pt", b"", "restore or train it again"),
    ):
        (tmp_path / name).write_bytes(content)
        message = refusal_of(tmp_path / name)
        assert rule in message
        assert "\n" not in message
    torch.save({"state_dict": {}}, tmp_path / "other.pt")
    assert "a checkpoint of another kind" in refusal_of(tmp_path / "other.pt")
    torch.save(torch.ones(2), tmp_path / "tensor.pt")
    assert "holds a Tensor" in refusal_of(tmp_path / "tensor.pt")
    assert "for continuing a training; name a best.pt" in refusal_of(best.with_name("last.pt"))
    assert "must hold a best.pt" in refusal_of(tmp_path)
    assert "File name too long" in refusal_of("x" * 5000)


def test_a_place_that_cannot_be_written_is_refused_before_any_clip_is_judged(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert "--out: must be a folder" in refusal_of(run, "--out", tmp_path / "file")
    assert "evaluating" not in capsys.readouterr().out
