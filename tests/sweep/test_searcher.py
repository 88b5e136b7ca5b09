"""What the study says of every trial, and what the sampler learns of it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from optuna.trial import FrozenTrial, TrialState

from slrtune.config.errors import UserError
from slrtune.config.experiment import Experiment
from slrtune.config.search_space import Parameter, SearchSpace
from slrtune.config.sweep import SweepConfig
from slrtune.sweep.constraints import CONSTRAINT, MemoryBudget
from slrtune.sweep.searcher import TruthfulSearch
from tests.sweep.simulated import (
    SPACE,
    Needs,
    ProductPredictor,
    a_search,
    accuracy_of,
    an_epoch,
    run_trials,
)  # fmt: skip


def only_trial(search: TruthfulSearch) -> FrozenTrial:
    (trial,) = search.study.get_trials()
    return trial


def test_a_stopped_trial_is_pruned_with_its_value_of_every_epoch(tmp_path: Path) -> None:
    search = a_search(tmp_path / "s")
    (params,) = run_trials(search, 1, last_epoch=lambda _: 3)
    trial = only_trial(search)
    assert trial.state == TrialState.PRUNED
    values = [accuracy_of(params) * epoch / 4 for epoch in (1, 2, 3)]
    assert list(trial.intermediate_values.items()) == list(enumerate(values, 1))
    assert trial.value == values[-1]
    assert (trial.user_attrs["outcome"], trial.user_attrs["epoch"]) == ("pruned", 3)


def test_a_configuration_over_the_budget_is_told_as_a_violated_constraint_and_not_launched(
    tmp_path: Path,
) -> None:
    search = a_search(tmp_path / "s", budget_gib=3.0)
    launched = run_trials(search, 12)
    assert len(launched) == 12
    needed = [p["training.batch_size"] * (1 + p["model.cnn_transformer.depth"]) for p in launched]
    assert max(needed) <= 3.0 * 16
    trials = search.study.get_trials()
    infeasible = [trial for trial in trials if trial.user_attrs["outcome"] == "infeasible"]
    assert len(infeasible) == len(trials) - 12 > 0
    for trial in infeasible:
        assert trial.state == TrialState.PRUNED
        predicted_gib = trial.user_attrs["predicted_need_gib"]
        assert predicted_gib > 3.0
        assert trial.constraints == {CONSTRAINT: predicted_gib - 3.0}
    feasible = [trial for trial in trials if trial not in infeasible]
    assert all(trial.constraints[CONSTRAINT] <= 0 for trial in feasible)
    assert search.study.best_trial.user_attrs["outcome"] == "completed"


@pytest.mark.parametrize("seed", range(3))
def test_the_search_learns_what_fits_although_the_best_lies_at_the_edge(
    tmp_path: Path, seed: int
) -> None:
    search = a_search(tmp_path / "s", budget_gib=4.0, seed=seed)
    run_trials(search, 40)
    last = search.study.get_trials()[-20:]
    assert sum(trial.user_attrs["outcome"] == "infeasible" for trial in last) <= 3


def test_a_random_search_goes_on_drawing_over_the_budget(tmp_path: Path) -> None:
    search = a_search(tmp_path / "s", budget_gib=4.0, sampler="random")
    run_trials(search, 40)
    assert 0.25 < 1 - 40 / len(search.study.get_trials()) < 0.6  # 13 of 32 are expected


@pytest.mark.parametrize("peak_gib", [2.5, 3.5, None])
def test_running_out_of_memory_is_infeasible_and_a_bug_is_a_failure(
    tmp_path: Path, peak_gib: float | None
) -> None:
    search = a_search(tmp_path / "s", budget_gib=3.0)
    for trial_id, outcome in (("a", "oom"), ("b", "error")):
        config = search.suggest(trial_id)
        assert isinstance(config, dict)
        epoch = an_epoch(config["params"], 1, peak_memory_gib=1.0)
        search.on_trial_result(trial_id, epoch)
        end = {**epoch, "outcome": outcome, "error": "why"}
        if peak_gib is not None:
            end["peak_memory_gib"] = peak_gib
        search.on_trial_complete(trial_id, end)
    told = [t for t in search.study.get_trials() if t.user_attrs["outcome"] != "infeasible"]
    oom, bug = told
    assert (oom.state, oom.user_attrs["outcome"]) == (TrialState.PRUNED, "oom")
    assert oom.constraints[CONSTRAINT] == (0.5 if peak_gib == 3.5 else 0.01)
    assert (bug.state, bug.user_attrs["outcome"]) == (TrialState.FAIL, "error")
    assert bug.constraints == {}


def test_without_a_budget_an_oom_is_infeasible_all_the_same(tmp_path: Path) -> None:
    search = a_search(tmp_path / "s")
    search.suggest("a")
    search.on_trial_complete("a", {"outcome": "oom", "error": "why", "max_epochs": 4})
    assert only_trial(search).state == TrialState.PRUNED
    assert only_trial(search).constraints[CONSTRAINT] > 0


@pytest.mark.parametrize("objective", ["accuracy", "pareto"])
@pytest.mark.parametrize("value", [math.nan, math.inf, None])
def test_a_metric_that_is_no_number_leaves_no_trial_running(
    tmp_path: Path, value: float | None, objective: str
) -> None:
    search = a_search(tmp_path / "s", objective=objective)
    config = search.suggest("a")
    assert isinstance(config, dict)
    result = {**an_epoch(config["params"], 4), "best_val_top1": value}
    if value is None:
        del result["best_val_top1"]
    search.on_trial_result("a", result)
    search.on_trial_complete("a", result)
    assert only_trial(search).state == TrialState.FAIL


def test_what_an_interrupt_cut_off_waits_with_what_it_reached(tmp_path: Path) -> None:
    search = a_search(tmp_path / "s")
    config = search.suggest("a")
    assert isinstance(config, dict)
    search.on_trial_result("a", an_epoch(config["params"], 1))
    assert search.close_open_trials() == 1
    assert only_trial(search).state == TrialState.WAITING
    assert only_trial(search).user_attrs["last_report"]["epoch"] == 1


def test_where_no_worker_group_is_left_the_search_ends_and_its_trials_can_go_on(
    tmp_path: Path,
) -> None:
    search = a_search(tmp_path / "s")
    config = search.suggest("a")
    assert isinstance(config, dict)
    epoch = an_epoch(config["params"], 1)
    search.on_trial_result("a", epoch)
    search.on_trial_complete("a", {**epoch, "outcome": "interrupted", "error": "no group is left"})
    assert (search.suggest("b"), search.lost) == ("FINISHED", "no group is left")
    search.close_open_trials()
    assert config["num_told"] == 0
    assert a_search(tmp_path / "s").suggest("c") == {**config, "num_told": 1}


@pytest.mark.parametrize("budget_gib", [None, 3.0])
def test_the_same_seed_gives_the_same_suggestions(tmp_path: Path, budget_gib: float | None) -> None:
    drawn = []
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        search = a_search(tmp_path / name, budget_gib=budget_gib, seed=seed)
        run_trials(search, 20, last_epoch=lambda index: 1 + index % 4)
        drawn.append([trial.params for trial in search.study.get_trials()])
    assert drawn[0] == drawn[1] != drawn[2]


def test_the_same_configuration_is_predicted_once(tmp_path: Path) -> None:
    predictor = ProductPredictor()
    budget = MemoryBudget(1.0, predictor)
    for _ in range(3):
        budget.predict(SPACE, {"training.batch_size": 4})
    assert predictor.num_calls == 1


def test_a_search_in_which_nothing_fits_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slrtune.sweep.searcher._MAX_SEARCH_S", math.inf)  # on a slow machine, too
    search = a_search(tmp_path / "s", budget_gib=0.1, max_draws_per_trial=9)
    assert search.suggest("a") == "FINISHED"
    assert search.is_exhausted
    assert len(search.study.get_trials()) == 9


def test_a_search_gives_tune_its_turn_while_predictions_are_slow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slrtune.sweep.searcher._MAX_SEARCH_S", 0.0)
    search = a_search(tmp_path / "s", budget_gib=0.1, max_draws_per_trial=3)
    assert [search.suggest(f"{index}") for index in range(4)] == [None, None, None, "FINISHED"]


@pytest.mark.parametrize("error", [UserError("no such net"), RuntimeError("cannot be traced")])
def test_what_cannot_be_predicted_is_launched(tmp_path: Path, error: Exception) -> None:
    class Broken:
        def predict(self, experiment: Experiment) -> Needs:
            raise error

    (tmp_path / "s").mkdir()
    budget = MemoryBudget(1.0, Broken())
    search = TruthfulSearch(SPACE, SweepConfig(), tmp_path / "s", budget)
    assert isinstance(search.suggest("a"), dict)


def test_with_two_objectives_a_stopped_trial_has_its_measured_values(tmp_path: Path) -> None:
    search = a_search(tmp_path / "s", budget_gib=3.0, objective="pareto")
    (params,) = run_trials(search, 1, last_epoch=lambda _: 2)
    trial = search.study.get_trials()[-1]
    peak_gib = an_epoch(params, 1)["peak_memory_gib"]
    assert trial.state == TrialState.COMPLETE
    assert trial.values == [accuracy_of(params) / 2, peak_gib]
    assert list(trial.user_attrs["accuracies"]) == ["1", "2"]
    assert trial.user_attrs["outcome"] == "pruned"
    directions = [direction.name for direction in search.study.directions]
    assert directions == ["MAXIMIZE", "MINIMIZE"]


def test_with_two_objectives_the_budget_is_learned_too(tmp_path: Path) -> None:
    search = a_search(tmp_path / "s", budget_gib=4.0, objective="pareto")
    run_trials(search, 30)
    last = search.study.get_trials()[-20:]
    assert sum(trial.user_attrs["outcome"] == "infeasible" for trial in last) <= 3
    assert len(search.study.best_trials) >= 3


@pytest.mark.parametrize("sampler", ["gp", "tpe", "random"])
def test_what_the_study_records_keeps_to_dependent_bounds(tmp_path: Path, sampler: str) -> None:
    rate, encoder = "training.learning_rate", "training.encoder_learning_rate"
    space = SearchSpace(
        "bounded",
        Experiment(),
        (
            Parameter(rate, low=1e-4, high=1e-2, log=True),
            Parameter(encoder, low=1e-5, high=1e-2, log=True, high_key=rate),
        ),
    )
    (tmp_path / "s").mkdir()
    settings = SweepConfig(sampler=sampler, num_startup_trials=3)  # type: ignore[arg-type]
    search = TruthfulSearch(space, settings, tmp_path / "s")
    for index in range(12):
        config = search.suggest(f"{index}")
        assert isinstance(config, dict)
        end = {"epoch": 4, "max_epochs": 4, "best_val_top1": config["params"][encoder]}
        search.on_trial_complete(f"{index}", end)
        assert search.study.trials[-1].params == config["params"]
        assert config["params"][encoder] <= config["params"][rate]
