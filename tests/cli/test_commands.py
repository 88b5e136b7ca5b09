"""Commands that need no cluster: help, checks, and clear refusals."""

from __future__ import annotations

import json
import shutil
import string
from pathlib import Path

import pytest

from slrtune.cli.main import app
from slrtune.cli.run_training import run
from slrtune.config.errors import UserError
from slrtune.config.overrides import read_overrides
from slrtune.config.validate import load_experiment
from tests.cli_process import run_slrtune


def refusal_of(arguments: list[str]) -> str:
    """The message of a command that refuses its input, run in this process."""
    with pytest.raises(UserError) as caught:
        app(arguments, standalone_mode=False)
    return str(caught.value)


def test_help_teaches_and_lists_the_commands(tmp_path: Path) -> None:
    code, output = run_slrtune(["--help"], tmp_path)
    assert code == 0
    for command in ("sweep", "train", "evaluate", "results", "check", "config", "data"):
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


@pytest.mark.parametrize("command", ["train", "sweep"])
def test_a_file_of_the_other_kind_is_told_with_its_command(tmp_path: Path, command: str) -> None:
    (tmp_path / "sweep.yaml").write_text("training: {max_epochs: 3}\n")
    (tmp_path / "train.yaml").write_text("parameters: {training.seed: {low: 0, high: 9}}\n")
    other = {"train": "sweep", "sweep": "train"}[command]
    assert f"`slrtune {other}" in refusal_of([command, str(tmp_path / f"{command}.yaml")])


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        (["results", ""], "is empty"),
        (["results", "x" * 5000], "cannot be read"),
        (["data", "index", ".", "--out", "folder"], "is a folder"),
        (["data", "index", ".", "--out", "absent/clips.parquet"], "there is no absent"),
        (["data", "preview", "folder"], "is a folder"),
        (["data", "synth", "file/letters", "--words", "A"], "Not a directory"),
        (["data", "synth", "letters", "--words", ""], "1 to 40 letters"),
        (["train", "e.yaml", "--name", "a/b"], "must be a plain folder name"),
        (["train", "e.yaml", "--name", ".."], "must be a plain folder name"),
        (["train", "e.yaml", "--name", "x" * 101], "at most 100 characters"),
        (["train", "e.yaml", "--set", "runs_dir=file"], "runs_dir: must be a folder"),
        (["train", "e.yaml", "--set", "runs_dir=file/runs"], "runs_dir: must be a folder"),
    ],
)
def test_a_place_that_cannot_be_written_or_read_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], rule: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "e.yaml").write_text("")
    assert rule in refusal_of(arguments)
    assert not (tmp_path / ".cache").exists()


def test_synth_renders_every_letter_unless_words_are_given(tmp_path: Path) -> None:
    small = ["--signers", "3", "--size-px", "64"]
    for options, labels in {(): string.ascii_uppercase, ("--words", "a,B"): "AB"}.items():
        out = tmp_path / f"letters-{len(labels)}"
        code, output = run_slrtune(["data", "synth", str(out), *small, *options], tmp_path)
        assert code == 0, output
        assert sorted(folder.name for folder in (out / "train").iterdir()) == list(labels)


def test_an_empty_split_is_refused_by_name_and_can_be_corrected(
    tmp_path: Path, colors_experiment: Path
) -> None:
    folder = tmp_path / "runs" / "colors"
    train = ["train", str(colors_experiment), "--set"]
    code, output = run_slrtune([*train, "data.val_split=dev"], tmp_path)
    assert (code, "Traceback" in output, "'dev'" in output) == (2, False, True), output
    assert not (folder / "experiment.json").exists()
    assert "'tests'" in refusal_of([*train, "data.val_split=tests"])


@pytest.mark.parametrize("content", ["", "{", "[]", "{}"])
@pytest.mark.parametrize("name", ["experiment.json", "summary.json"])
def test_a_damaged_record_of_a_run_is_told_by_its_file(
    tmp_path: Path, colors_experiment: Path, name: str, content: str
) -> None:
    experiment = load_experiment(colors_experiment)
    folder = tmp_path / "runs" / "colors"
    folder.mkdir(parents=True)
    (folder / "experiment.json").write_text(experiment.model_dump_json())
    (folder / "summary.json").write_text('{"best": {}}')
    (folder / name).write_text(content)
    with pytest.raises(UserError, match=name):
        run(experiment, None, None)


def test_a_finished_run_is_only_compared_by_what_its_weights_depend_on(
    tmp_path: Path, colors_experiment: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment = load_experiment(colors_experiment)
    folder = tmp_path / "runs" / "colors"
    folder.mkdir(parents=True)
    (folder / "experiment.json").write_text(experiment.model_dump_json())
    best = {"epoch": 2, "val_top1": 0.5, "val_top5": 1.0}
    usable = {split: {"listed": 4, "found": 3, "usable": 3} for split in ("train", "val")}
    record = {"best": best, "last_epoch": 4, "best_checkpoint": "best.pt", "coverage": usable}
    (folder / "summary.json").write_text(json.dumps(record))
    more_trials = read_overrides(["sweep.max_trials=99"])
    run(load_experiment(colors_experiment, more_trials), None, None)
    assert "Best epoch 2 of 4" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"training\.seed: 42 -> 5"):
        run(load_experiment(colors_experiment, read_overrides(["training.seed=5"])), None, None)


def test_config_prints_defaults_and_meanings(tmp_path: Path) -> None:
    code, output = run_slrtune(["config", "sweep.asha"], tmp_path)
    assert code == 0
    assert "sweep.asha.grace_epochs: null" in output
    assert "no trial is stopped before this epoch" in output


def test_a_run_does_not_go_into_a_sweep_s_folder(tmp_path: Path, colors_experiment: Path) -> None:
    sweep = tmp_path / "runs" / "mine"
    sweep.mkdir(parents=True)
    (sweep / "sweep.json").write_text("{}")
    code, output = run_slrtune(["train", str(colors_experiment), "--name", "mine"], tmp_path)
    assert code == 2
    assert "holds a sweep" in output
    assert list(sweep.iterdir()) == [sweep / "sweep.json"]


def test_check_tells_what_a_population_will_do_and_what_does_not_go_with_one_is_refused(
    tmp_path: Path, colors_experiment: Path
) -> None:
    space = tmp_path / "space.yaml"
    space.write_text("parameters: {training.learning_rate: {low: 1e-4, high: 1e-2}}\n")
    settings = ["-e", str(colors_experiment), "--set", "sweep.scheduler=pbt"]
    code, output = run_slrtune(["check", str(space), *settings], tmp_path)
    assert (code, "Population of 4" in output) == (0, True), output
    assert "All meet after epochs 1, 2, 3" in " ".join(output.split())
    for option in (["--isolate-trials"], ["--warm-start", "earlier"]):
        refusal = refusal_of(["sweep", str(space), *settings, *option])
        assert refusal.startswith(f"{option[0]}: must be left out")
    store = ["--set", "runs_dir=s3://bucket/runs"]
    assert "pbt needs a runs_dir" in refusal_of(["sweep", str(space), *settings, *store])
