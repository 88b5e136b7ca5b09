"""Real sweeps on a real local Ray, with real video."""

from __future__ import annotations

import json
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from slrtune.config.validate import load_experiment
from slrtune.sweep.results import read_results
from slrtune.sweep.study import open_storage
from tests.cli_process import SlrtuneProcess, run_slrtune

pytestmark = pytest.mark.ray

_SPACE = """
parameters:
  model.name: {choices: [cnn_transformer, timesformer]}
  training.learning_rate: {low: 1e-7, high: 1e-2, log: true}
points:
  - {model.name: cnn_transformer, training.learning_rate: 3e-3}
  - {model.name: timesformer, training.learning_rate: 3e-3}
  - {model.name: cnn_transformer, training.learning_rate: 1e-7}
  - {model.name: timesformer, training.learning_rate: 1e-7}
"""


def write_space(folder: Path, text: str = _SPACE) -> str:
    path = folder / "space.yaml"
    path.write_text(text)
    return str(path)


def study_of(folder: Path) -> optuna.Study:
    return optuna.load_study(study_name=folder.name, storage=open_storage(folder))


def test_a_sweep_ends_with_a_true_study_a_best_trial_and_no_process(
    tmp_path: Path, colors_experiment: Path
) -> None:
    space = write_space(tmp_path)
    sweep = SlrtuneProcess(
        [
            *["sweep", space, "-e", str(colors_experiment), "-n", "6", "--name", "s"],
            *["--set", "sweep.keep_checkpoints=2"],
        ],
        tmp_path,
    )
    assert sweep.wait() == 0, sweep.output
    assert sweep.left_behind() == []
    folder = tmp_path / "runs" / "s"
    trials = study_of(folder).get_trials()
    assert len(trials) == 6
    states = {trial.state for trial in trials}
    assert states == {TrialState.COMPLETE, TrialState.PRUNED}
    for trial in trials:
        epochs = trial.user_attrs["epoch"]
        assert sorted(trial.intermediate_values) == list(range(1, int(epochs) + 1))
        assert (trial.state == TrialState.COMPLETE) == (epochs == 4)
        assert trial.value == trial.user_attrs["best_val_top1"]
        assert trial.user_attrs["peak_memory_gib"] > 0
    kept = list(folder.glob("trial_*/checkpoints/*"))
    assert len(kept) == 2  # sweep.keep_checkpoints
    assert {file.name for file in kept} == {"best.pt"}
    best = max(trial.value for trial in trials if trial.value is not None)
    assert read_results(folder).best.metrics["best_val_top1"] == best  # type: ignore[union-attr]
    assert load_experiment(folder / "best.yaml").model.name in ("cnn_transformer", "timesformer")
    assert (folder / "best.pt").stat().st_size > 0
    assert "100.0%" in sweep.output
    assert "slrtune tensorboard runs/s" in sweep.output
    for trial in trials:
        run = folder / "tensorboard" / f"trial_{trial.number:03d}"
        events = EventAccumulator(str(run)).Reload()
        assert "_hparams_/session_start_info" in events.summary_metadata
        assert "_hparams_/session_end_info" in events.summary_metadata
        steps = [event.step for event in events.Scalars("val_top1")]
        assert steps == sorted(trial.intermediate_values)
    code, output = run_slrtune(["results", "s"], tmp_path)
    assert code == 0
    assert f"Best: trial {read_results(folder).best.number}" in output  # type: ignore[union-attr]


def test_a_trial_that_fails_is_told_with_its_reason_and_the_sweep_goes_on(
    tmp_path: Path, colors_experiment: Path
) -> None:
    space = write_space(
        tmp_path,
        "parameters:\n  model.cnn_transformer.backbone: {choices: [test_resnet, no_such_net]}\n"
        "points:\n  - {model.cnn_transformer.backbone: no_such_net}\n"
        "  - {model.cnn_transformer.backbone: test_resnet}\n",
    )
    arguments = ["sweep", space, "-e", str(colors_experiment), "-n", "2", "--name", "s", "--json"]
    one_at_a_time = ["--set", "sweep.max_concurrent_trials=1", "--log-to", "mlflow"]
    sweep = SlrtuneProcess([*arguments, *one_at_a_time], tmp_path, errors=tmp_path / "errors")
    told = (tmp_path / "errors").read_text
    assert sweep.wait() == 0, told()
    failed, good = study_of(tmp_path / "runs" / "s").get_trials()
    assert (failed.state, good.state) == (TrialState.FAIL, TrialState.COMPLETE)
    assert "no_such_net" in failed.user_attrs["error"]
    assert "trial 0 failed: UserError" in told()
    # Nothing but events on the standard output, one a line.
    events = [json.loads(line) for line in sweep.output.splitlines()]
    names = [(event["event"], event.get("trial"), event.get("epoch")) for event in events]
    assert names == [
        ("sweep_started", None, None),
        ("trial_started", 0, 0),
        ("trial_ended", 0, 0),
        ("trial_started", 1, 0),
        *[("epoch", 1, epoch) for epoch in (1, 2, 3, 4)],
        ("trial_ended", 1, 4),
        ("sweep_ended", None, None),
    ]
    assert (events[2]["outcome"], events[2]["value"]) == ("error", None)
    assert "no_such_net" in events[2]["error"]
    assert events[-1]["trials"] == {"completed": 1, "error": 1}
    assert events[-1]["best"]["value"] == events[-2]["value"] == good.value
    assert events[-3]["metrics"]["val_top1"] <= good.value
    assert (tmp_path / "runs" / "mlflow.db").exists()


def test_a_sweep_without_any_result_does_not_end_as_a_success(
    tmp_path: Path, colors_experiment: Path
) -> None:
    space = write_space(
        tmp_path, "parameters: {model.cnn_transformer.backbone: {choices: [no_such_net]}}\n"
    )
    arguments = ["sweep", space, "-e", str(colors_experiment), "-n", "1", "--name", "s"]
    code, output = run_slrtune(arguments, tmp_path)
    assert code == 1, output
    assert "trial 0 failed: UserError" in output
    assert "no_such_net" in output


def test_stop_ends_a_sweep_as_ctrl_c_does_with_its_results_and_leaves_no_process(
    tmp_path: Path, colors_experiment: Path
) -> None:
    arguments = ["sweep", write_space(tmp_path), "-e", str(colors_experiment), "--name", "s"]
    settings = ["--set", "training.max_epochs=500", "--set", "sweep.max_concurrent_trials=1"]
    sweep = SlrtuneProcess([*arguments, *settings], tmp_path)
    folder = tmp_path / "runs" / "s"
    sweep.wait_for(lambda: list(folder.glob("trial_*/checkpoints/last.pt")))
    told = run_slrtune(["status", "s"], tmp_path)[1]
    assert "s is running: 0 of 4 trials have ended" in told
    code, refused = run_slrtune(["sweep", "--resume", "s"], tmp_path)
    assert (code, "runs this sweep right now" in refused) == (2, True), refused
    stopped = run_slrtune(["stop", "s"], tmp_path)
    assert stopped[0] == 0, stopped[1]
    code = sweep.wait(60)
    assert sweep.left_behind() == []
    assert code == 130, sweep.output
    assert "interrupted" in sweep.output
    states = {trial.state for trial in study_of(folder).get_trials()}
    assert TrialState.WAITING in states
    assert TrialState.RUNNING not in states
    assert "slrtune sweep --resume runs/s" in sweep.output
    assert list(folder.glob("trial_*/checkpoints/last.pt"))  # to go on from


def test_isolated_trials_run_in_workers_of_their_own_also_two_at_a_time(
    tmp_path: Path, colors_experiment: Path
) -> None:
    arguments = ["sweep", write_space(tmp_path), "-e", str(colors_experiment), "--name", "s"]
    two_workers = ["--set", "resources.workers_per_trial=2", "--set", "sweep.scheduler=none"]
    sweep = SlrtuneProcess([*arguments, "-n", "2", "--isolate-trials", *two_workers], tmp_path)
    assert sweep.wait() == 0, sweep.output
    assert sweep.left_behind() == []
    trials = study_of(tmp_path / "runs" / "s").get_trials()
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 2
    assert [trial.user_attrs["epoch"] for trial in trials] == [4, 4]
