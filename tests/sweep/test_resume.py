"""A sweep whose driver was killed goes on as if nothing had happened: study, scheduler, sampler."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState

from slrtune.cluster.resources import TrialShare
from slrtune.config.errors import UserError
from slrtune.config.search_space import Parameter
from slrtune.sweep.board import SweepBoard
from slrtune.sweep.folder import alone_in_sweep, is_running
from slrtune.sweep.plan import SweepPlan, read_plan, write_plan
from slrtune.sweep.scheduler import make_scheduler
from slrtune.sweep.searcher import TruthfulSearch
from slrtune.sweep.study import mend_journal, read_study
from tests.sweep.simulated import MAX_EPOCHS, SPACE, a_search, an_epoch, run_trials

NUM_TRIALS = 9
_SETTINGS = {"num_startup_trials": 3, "max_trials": NUM_TRIALS}
_SWEEP = SPACE.base.sweep.model_copy(
    update={"asha": SPACE.base.sweep.asha.model_copy(update={"reduction_factor": 2.0})}
)


class KilledError(Exception):
    """The driver's end."""


def drive(
    search: TruthfulSearch, checkpoints: dict[int, int], budget: Iterator[int] | None = None
) -> list[int]:
    """Run a sweep's trials one after the other in Tune's order of calls, with the real scheduler.

    Args:
        search: new, or on the folder of a sweep that was killed.
        checkpoints: the last epoch that each trial has trained, which outlives the driver.
        budget: an item for every call; the driver is killed when there is none left; None = never.

    Returns:
        Numbers of the trials that ended.
    """
    board = SweepBoard("s", NUM_TRIALS, 1, SPACE.base.objective)
    board.take_up(trial.row for trial in search.earlier)
    objective = SPACE.base.objective
    scheduler = make_scheduler(_SWEEP, objective, MAX_EPOCHS, search.earlier)
    ended = []

    def alive(result: Any = None) -> Any:
        if budget is not None and next(budget, None) is None:
            raise KilledError
        return result

    for index in range(board.num_left):
        config = alive(search.suggest(f"{index}"))
        trial = SimpleNamespace(config=config, trial_id=f"{index}")
        scheduler.on_trial_add(None, trial)  # type: ignore[arg-type]
        # As the engine does: from its checkpoint on, whose epoch it reports again.
        for epoch in range(checkpoints.get(config["number"], 1), MAX_EPOCHS + 1):
            checkpoints[config["number"]] = epoch
            result = an_epoch(config["params"], epoch)
            is_last = epoch == MAX_EPOCHS
            verdict = scheduler.on_trial_result(None, trial, result)  # type: ignore[arg-type]
            alive()
            if verdict == "STOP" or is_last:
                break
            search.on_trial_result(trial.trial_id, result)
            alive()
        scheduler.on_trial_complete(None, trial, result)  # type: ignore[arg-type]
        search.on_trial_complete(trial.trial_id, result)
        ended.append(config["number"])
        alive()
    return ended


def told(search: TruthfulSearch) -> list[tuple[Any, ...]]:
    """What the study says of each trial, but when."""

    def of(trial: FrozenTrial) -> tuple[Any, ...]:
        outcome = trial.user_attrs.get("outcome")
        return trial.number, trial.state, outcome, trial.params, trial.intermediate_values

    return [of(trial) for trial in search.study.get_trials()]


@pytest.mark.parametrize("sampler", ["gp", "tpe", "random"])
def test_a_sweep_that_is_killed_again_and_again_tells_the_same_as_an_unbroken_one(
    tmp_path: Path, sampler: str
) -> None:
    unbroken = a_search(tmp_path / "unbroken", sampler=sampler, **_SETTINGS)
    assert drive(unbroken, {}) == list(range(NUM_TRIALS))
    outcomes = [trial.user_attrs["outcome"] for trial in unbroken.study.trials]
    assert {"pruned", "completed"} == set(outcomes)
    for num_calls in (4, 7, 13):
        checkpoints: dict[int, int] = {}
        search = a_search(tmp_path / f"{num_calls}", sampler=sampler, **_SETTINGS)
        while True:
            with contextlib.suppress(KilledError):
                drive(search, checkpoints, iter(range(num_calls)))
                break
            search = a_search(tmp_path / f"{num_calls}", sampler=sampler, **_SETTINGS)
        assert told(search) == told(unbroken)


def test_what_was_cut_off_comes_first_under_its_own_number_and_then_new_trials(
    tmp_path: Path,
) -> None:
    search = a_search(tmp_path / "s")
    run_trials(search, 1)
    first, second = search.suggest("a"), search.suggest("b")
    assert isinstance(first, dict) and isinstance(second, dict)
    search.on_trial_result("b", an_epoch(second["params"], 2))
    again = a_search(tmp_path / "s")
    states = [(trial.row.number, trial.row.state, trial.row.epoch) for trial in again.earlier]
    assert states == [(0, "completed", 4), (1, "interrupted", 0), (2, "interrupted", 2)]
    assert [again.suggest("c"), again.suggest("d")] == [first, {**second, "num_told": 2}]
    new = again.suggest("e")
    assert isinstance(new, dict)
    assert new["number"] == 3


def test_a_trial_whose_parameters_were_written_in_part_gets_the_rest(tmp_path: Path) -> None:
    whole = a_search(tmp_path / "whole").suggest("a")
    a_search(tmp_path / "s").suggest("a")
    journal = tmp_path / "s" / "study.log"
    lines = journal.read_bytes().splitlines(keepends=True)
    second_parameter = [i for i, line in enumerate(lines) if b"param_name" in line][1]
    journal.write_bytes(b"".join(lines[:second_parameter]))
    assert a_search(tmp_path / "s").suggest("b") == whole


def test_a_point_is_tried_once_and_more_trials_try_more_points(tmp_path: Path) -> None:
    points = tuple({"training.batch_size": size} for size in (4, 8, 16))
    space = replace(SPACE, points=points)
    for max_trials, num_run in ((2, 1), (2, 0), (3, 2)):
        sweep = _SWEEP.model_copy(update={"max_trials": max_trials})
        folder = tmp_path / "s"
        folder.mkdir(exist_ok=True)
        run_trials(TruthfulSearch(space, sweep, folder), num_run)
    trials = read_study(folder).trials
    assert [trial.params["training.batch_size"] for trial in trials] == [4, 8, 16]


def test_hours_that_were_spent_before_count(tmp_path: Path) -> None:
    run_trials(a_search(tmp_path / "s"), 2)  # 4 s each
    search = a_search(tmp_path / "s", max_gpu_hours=11 / 3600)
    assert search.suggest("a") == "FINISHED"
    assert search.is_out_of_hours


@pytest.mark.parametrize("tail", [b'{"op_code":5,"wor', b"\0" * 40, b'{"op_code":4}\xff\n'])
def test_a_torn_end_of_the_journal_is_cut_off_and_nothing_else_is_lost(
    tmp_path: Path, tail: bytes
) -> None:
    run_trials(a_search(tmp_path / "s"), 2)
    journal = tmp_path / "s" / "study.log"
    whole = journal.read_bytes()
    journal.write_bytes(whole + tail)
    (tmp_path / "s" / "study.log.lock").symlink_to(journal)  # of the driver that was killed
    search = a_search(tmp_path / "s")
    run_trials(search, 1)
    assert journal.read_bytes().startswith(whole)
    assert [trial.state for trial in read_study(tmp_path / "s").trials] == [TrialState.COMPLETE] * 3


def test_a_journal_that_is_damaged_in_its_middle_is_left_as_it_is(tmp_path: Path) -> None:
    run_trials(a_search(tmp_path / "s"), 2)
    journal = tmp_path / "s" / "study.log"
    damaged = journal.read_bytes().replace(b'{"op_code":4', b'{"op_c\0de":4', 1)
    journal.write_bytes(damaged)
    mend_journal(journal)
    assert journal.read_bytes() == damaged
    with pytest.raises(UserError, match=r"study\.log"):
        a_search(tmp_path / "s")


def test_a_sweep_that_died_before_its_first_trial_starts_anew(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    folder.mkdir()
    (folder / "study.log").write_bytes(b'{"op_code":0,"worker_id"')
    run_trials(a_search(folder), 1)
    assert [trial.number for trial in read_study(folder).trials] == [0]


def test_the_recorded_plan_is_the_plan(tmp_path: Path) -> None:
    rate = "training.learning_rate"
    more = (
        Parameter("training.encoder_learning_rate", low=1e-5, high=1e-2, log=True, high_key=rate),
        Parameter("model.name", choices=("timesformer", "cnn_transformer")),
        Parameter(
            "model.timesformer.attention_chunk_size",
            choices=(None, 64),
            when=(("model.name", ("timesformer",)),),
        ),
    )
    space = replace(SPACE, parameters=(*SPACE.parameters, *more), points=({rate: 1e-3},))
    plan = SweepPlan(space, tmp_path, TrialShare(1, 1.0, 0.0, 2), isolate_trials=True)
    write_plan(plan)
    write_plan(plan)
    recorded = read_plan(tmp_path)
    assert recorded.space == space
    assert (recorded.isolate_trials, recorded.warm_start) == (True, None)


def test_a_sweep_runs_once_at_a_time_and_is_free_when_its_process_is_gone(tmp_path: Path) -> None:
    assert not is_running(tmp_path)
    with alone_in_sweep(tmp_path):
        assert is_running(tmp_path)
        with (
            pytest.raises(UserError, match=r"process .* runs this sweep"),
            alone_in_sweep(tmp_path),
        ):
            pass
    assert not is_running(tmp_path)
