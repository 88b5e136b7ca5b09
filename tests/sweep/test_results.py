"""A sweep's folder, read long after the sweep: moved, without its data, or damaged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import optuna
import pytest

from slrtune.config.errors import UserError
from slrtune.config.experiment import Experiment
from slrtune.config.validate import load_experiment
from slrtune.sweep.results import read_results, write_best
from slrtune.sweep.study import open_storage
from tests.cli_process import run_slrtune


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """The folder of a sweep of three trials, on data that are no longer there."""
    folder = tmp_path / "runs" / "letters"
    folder.mkdir(parents=True)
    data = {"source": "class_folders", "root": "/gone/videos"}
    plan = {"experiment": Experiment.model_validate({"data": data}).model_dump(mode="json")}
    (folder / "sweep.json").write_text(json.dumps(plan))
    study = optuna.create_study(
        study_name="letters", storage=open_storage(folder), direction="maximize"
    )
    for accuracy in (0.2, 0.9, 0.5):
        trial = study.ask()
        trial.suggest_int("training.batch_size", 1, 64)
        for key, value in {"outcome": "completed", "epoch": 3, "best_val_top1": accuracy}.items():
            trial.set_user_attr(key, value)
        study.tell(trial, accuracy)
        checkpoints = folder / f"trial_{trial.number:03d}" / "checkpoints"
        checkpoints.mkdir(parents=True)
        (checkpoints / "best.pt").write_bytes(str(accuracy).encode())
    return folder


@pytest.mark.parametrize("change", ["kept", "renamed", "copied"])
def test_a_sweep_is_read_under_any_name_and_without_its_data(
    sweep: Path, tmp_path: Path, change: str
) -> None:
    folder = sweep
    if change == "renamed":
        folder = sweep.rename(tmp_path / "other name")
    elif change == "copied":
        folder = Path(shutil.copytree(sweep, tmp_path / "copy"))
    results = read_results(folder)
    assert [row.metrics["best_val_top1"] for row in results.rows] == [0.9, 0.5, 0.2]
    assert results.best is not None
    best = results.experiment(results.best)
    assert best.training.batch_size == results.best.params["training.batch_size"]
    assert write_best(results) == (folder / "best.yaml", folder / "best.pt")
    assert (folder / "best.pt").read_bytes() == b"0.9"


def test_a_missing_checkpoint_leaves_the_best_configuration(sweep: Path) -> None:
    shutil.rmtree(sweep / "trial_001")
    assert write_best(read_results(sweep)) == (sweep / "best.yaml", None)
    assert "root: /gone/videos" in (sweep / "best.yaml").read_text()


def test_the_best_configuration_is_an_experiment_that_can_be_trained(
    sweep: Path, tmp_path: Path
) -> None:
    plan = json.loads((sweep / "sweep.json").read_text())
    plan["experiment"]["data"]["root"] = str(tmp_path)
    (sweep / "sweep.json").write_text(json.dumps(plan))
    results = read_results(sweep)
    write_best(results)
    assert results.best is not None
    trained_again = load_experiment(sweep / "best.yaml")
    assert trained_again.training == results.experiment(results.best).training
    assert trained_again.name == "letters-best"


def test_results_writes_the_best_that_a_killed_sweep_did_not(sweep: Path, tmp_path: Path) -> None:
    code, output = run_slrtune(["results", "letters"], tmp_path)
    assert code == 0, output
    assert "Best: trial 1, validation top-1 90.0%" in output
    assert (sweep / "best.yaml").exists()
    assert (sweep / "best.pt").read_bytes() == b"0.9"


@pytest.mark.parametrize(
    "content", [b"", b"garbage\n", b"\xff\xfe\x00\n", b"{}\n", b"[1]\n", b'"a"\n']
)
@pytest.mark.parametrize("name", ["study.log", "sweep.json"])
def test_a_damaged_sweep_is_told_by_the_file(sweep: Path, name: str, content: bytes) -> None:
    (sweep / name).write_bytes(content)
    with pytest.raises(UserError, match=name):
        read_results(sweep)
