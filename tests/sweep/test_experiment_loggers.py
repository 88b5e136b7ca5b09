"""What MLflow keeps of a sweep, by the real package and a real database."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from slrtune.cli.main import app
from slrtune.config.errors import UserError
from slrtune.config.objective import OBJECTIVES
from slrtune.sweep.board import TrialRow
from slrtune.sweep.experiment_loggers import ExperimentLogger

_PARAMS = {"training.batch_size": 8, "model.name": "timesformer", "training.micro_batch_size": None}


def _row(number: int, epoch: int = 0) -> TrialRow:
    metrics = {"epoch": epoch, "max_epochs": 3, "val_top1": 0.2 * epoch, "node": "a",
               # Tune counts from 1 again when a trial goes on
               "training_iteration": 1, "time_total_s": 9.0, "pid": 7}  # fmt: skip
    return TrialRow(number, _PARAMS, OBJECTIVES["top1"], "running", metrics if epoch else {})


def test_mlflow_keeps_params_epochs_and_outcome_and_its_failure_is_none_of_the_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "s").mkdir()
    with ExperimentLogger("mlflow", tmp_path / "s") as logger:
        for number, outcome in enumerate(("completed", "pruned", "oom")):
            logger.on_start(_row(number))
            for epoch in (1, 2):
                logger.on_epoch(_row(number, epoch))
            logger.on_epoch(_row(number, 2))  # a trial's end repeats its last epoch
            ended = replace(_row(number, 2), state=outcome)
            ended.metrics |= {"error": "no room"} if outcome == "oom" else {}
            logger.on_end(ended)
        needs = {"predicted_need_gib": 40.0}
        logger.on_infeasible(replace(_row(3), state="infeasible", metrics=needs))
        logger.on_start(_row(4))  # cut off by Ctrl-C
        logger.on_epoch(_row(99, 1))  # of a trial that MLflow was never told of

    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("s")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert sorted(runs) == [f"trial_00{number}" for number in range(5)]
    outcomes = {name: (run.data.params["outcome"], run.info.status) for name, run in runs.items()}
    assert outcomes == {
        "trial_000": ("completed", "FINISHED"),
        "trial_001": ("pruned", "FINISHED"),
        "trial_002": ("oom", "FAILED"),
        "trial_003": ("infeasible", "FAILED"),
        "trial_004": ("interrupted", "FAILED"),
    }
    oom = runs["trial_002"]
    assert oom.data.params["error"] == "no room"
    assert oom.data.params["training.batch_size"] == "8"
    assert oom.data.params["training.micro_batch_size"] == "None"
    assert not {"pid", "time_total_s", "number"} & set(oom.data.metrics)
    curve = client.get_metric_history(oom.info.run_id, "val_top1")
    assert [(point.step, point.value) for point in curve] == [(1, 0.2), (2, 0.4)]


def test_a_logger_that_is_not_installed_or_not_known_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    arguments = ["sweep", "--set", f"runs_dir={tmp_path / 'runs'}", "--log-to"]
    with pytest.raises(UserError, match="wandb must be installed"):
        app([*arguments, "wandb"], standalone_mode=False)
    with pytest.raises(UserError, match=r"sweep\.loggers"):
        app([*arguments, "paper"], standalone_mode=False)
    assert not list(tmp_path.glob("runs/*"))


def test_a_server_that_cannot_be_set_up_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "gopher://nowhere")
    with pytest.raises(UserError, match="mlflow cannot be set up"):
        ExperimentLogger("mlflow", tmp_path / "s")
