"""Commands that need no cluster: help, checks, and clear refusals."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.cli_process import run_slrtune


def test_help_teaches_and_lists_the_commands(tmp_path: Path) -> None:
    code, output = run_slrtune(["--help"], tmp_path)
    assert code == 0
    for command in ("sweep", "train", "results", "check", "config", "data"):
        assert command in output


@pytest.mark.parametrize("command", ["sweep", "train", "check"])
def test_three_mistakes_come_at_once_with_exit_code_2_and_no_traceback(
    tmp_path: Path, command: str
) -> None:
    (tmp_path / "e.yaml").write_text("training:\n  max_epochs: 0\n  lr: 1\ndata: {source: tape}\n")
    arguments = [command, "e.yaml"]
    if command == "sweep":
        (tmp_path / "s.yaml").write_text("parameters: {training.seed: {low: 0, high: 9}}\n")
        arguments = ["sweep", "s.yaml", "-e", "e.yaml"]
    code, output = run_slrtune(arguments, tmp_path)
    assert code == 2
    assert [line.split(" ")[0] for line in output.splitlines()] == [
        "e.yaml:2:", "e.yaml:3:", "e.yaml:4:",
    ]  # fmt: skip


def test_an_empty_split_is_refused_by_name(tmp_path: Path, colors_experiment: Path) -> None:
    code, output = run_slrtune(
        ["train", str(colors_experiment), "--set", "data.val_split=dev"], tmp_path
    )
    assert code == 2
    assert "'dev'" in output
    assert "Traceback" not in output


def test_an_undecodable_video_is_listed_with_its_reason(tmp_path: Path, colors_root: Path) -> None:
    root = shutil.copytree(colors_root, tmp_path / "videos")
    (root / "train" / "red" / "broken.mp4").write_bytes(b"")
    code, output = run_slrtune(["data", "index", str(root)], tmp_path)
    assert code == 0, output
    assert "train/red/broken.mp4: unreadable" in output
    assert "97.0%" in output


def test_a_folder_that_is_no_sweep_is_refused(tmp_path: Path) -> None:
    code, output = run_slrtune(["results", "nothing"], tmp_path)
    assert code == 2
    assert "is not the folder of a sweep" in output


def test_config_prints_defaults_and_meanings(tmp_path: Path) -> None:
    code, output = run_slrtune(["config", "sweep.asha"], tmp_path)
    assert code == 0
    assert "sweep.asha.grace_epochs: null" in output
    assert "no trial is stopped before this epoch" in output
