"""What `slrtune list` and `status` say of a sweep's folder, and which checkpoints stay in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from optuna.trial import TrialState
from typer.testing import CliRunner

from slrtune.cli.main import app
from slrtune.cluster.resources import TrialShare
from slrtune.sweep.checkpoints import CheckpointKeeper
from slrtune.sweep.folder import alone_in_sweep, trial_folder
from slrtune.sweep.plan import SweepPlan, write_plan
from slrtune.sweep.status import ENDED_BY_ITSELF, read_status
from slrtune.sweep.study import read_study
from tests.sweep.simulated import SPACE, a_search, an_epoch, run_trials


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sweep of twenty trials, of which two have ended and one was cut off in its second epoch."""
    folder = tmp_path / "runs" / "s"
    search = a_search(folder)
    write_plan(SweepPlan(SPACE, folder, TrialShare(1, 1.0, 0.0, 2)))
    run_trials(search, 2, last_epoch=lambda index: 4 - 2 * index)
    config = search.suggest("c")
    assert isinstance(config, dict)
    search.on_trial_result("c", an_epoch(config["params"], 1))
    return folder


def said(arguments: list[str]) -> str:
    return CliRunner().invoke(app, arguments, catch_exceptions=False).output


def test_a_sweep_is_running_while_a_process_holds_it_and_stopped_afterwards(folder: Path) -> None:
    with alone_in_sweep(folder):
        running = read_status(folder)
    assert (running.state, running.num_ended, running.max_trials) == ("running", 2, 20)
    assert running.counts == {"completed": 1, "pruned": 1, "running": 1}
    assert running.time_left_s is not None
    stopped = read_status(folder)
    assert (stopped.state, stopped.time_left_s) == ("stopped", None)
    assert stopped.counts == {"completed": 1, "pruned": 1, "waiting": 1}
    output = said(["status", str(folder)])
    assert "s is stopped: 2 of 20 trials have ended (1 completed, 1 pruned, 1 waiting)" in output
    assert "trial 2 waiting, epoch 1 of 4" in output
    assert f"slrtune sweep --resume {folder}" in output


def test_a_sweep_is_finished_when_all_trials_have_ended_or_its_search_has(folder: Path) -> None:
    study = read_study(folder)
    study.set_user_attr(ENDED_BY_ITSELF, True)
    assert read_status(folder).state == "finished"
    study.set_user_attr(ENDED_BY_ITSELF, False)
    run_trials(a_search(folder), 18)
    assert read_status(folder).state == "finished"
    assert {trial.state for trial in read_study(folder).trials} <= {
        TrialState.COMPLETE,
        TrialState.PRUNED,
    }


def test_the_list_has_every_sweep_also_a_broken_one_and_one_without_a_trial(
    folder: Path,
) -> None:
    damaged, young = folder.parent / "damaged", folder.parent / "young"
    for other in (damaged, young):
        other.mkdir()
        (other / "sweep.json").write_bytes((folder / "sweep.json").read_bytes())
    (damaged / "study.log").write_text("nonsense\nand more\n")
    output = said(["list", "--runs-dir", str(folder.parent)])
    table, _, problems = output.partition("  damaged is broken: ")
    lines = {line.split()[0]: line.split()[1:3] for line in table.splitlines() if line.strip()}
    assert lines["s"] == ["stopped", "2/20"]
    assert lines["young"] == ["stopped", "0/20"]
    assert lines["damaged"][0] == "broken"
    assert "study.log" in problems


def test_only_the_best_and_what_can_go_on_keep_checkpoints(tmp_path: Path) -> None:
    budget_gib = 6.0
    search = a_search(tmp_path / "s")
    run_trials(search, 8, last_epoch=lambda index: 4 - index % 2)
    config = search.suggest("open")
    assert isinstance(config, dict)
    search.on_trial_result("open", an_epoch(config["params"], 1))
    for number in range(9):
        checkpoints = trial_folder(tmp_path / "s", number) / "checkpoints"
        checkpoints.mkdir(parents=True)
        for name in ("best.pt", "last.pt", "previous.pt"):
            (checkpoints / name).write_text(name)
    sweep = SPACE.base.sweep.model_copy(update={"keep_checkpoints": 2})
    base = SPACE.base.model_copy(update={"sweep": sweep})
    CheckpointKeeper(tmp_path / "s", search.study, base, budget_gib).tidy()
    left = {
        number: sorted(file.name for file in trial_folder(tmp_path / "s", number).rglob("*.pt"))
        for number in range(9)
    }
    ended = [trial for trial in search.study.trials if trial.state.is_finished()]
    fitting = [t for t in ended if t.user_attrs["peak_memory_gib"] <= budget_gib]
    assert 2 < len(fitting) < 8
    best = sorted(fitting, key=lambda trial: -trial.user_attrs["best_val_top1"])[:2]
    kept = {trial.number: ["best.pt"] for trial in best}
    assert {number: files for number, files in left.items() if files} == {
        **kept,
        8: ["best.pt", "last.pt", "previous.pt"],
    }
