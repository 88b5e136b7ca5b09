"""A population without Ray and without training: who takes over from whom, with what, and when."""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from optuna.trial import TrialState

from slrtune.cluster.resources import TrialShare
from slrtune.config.experiment import Experiment
from slrtune.config.objective import OBJECTIVES
from slrtune.config.search_space import Parameter, Params, SearchSpace
from slrtune.config.sweep import PBTConfig
from slrtune.sweep import population_search
from slrtune.sweep.constraints import MemoryBudget
from slrtune.sweep.exploration import explored
from slrtune.sweep.folder import trial_folder
from slrtune.sweep.plan import SweepPlan, write_plan
from slrtune.sweep.population import Exploit, Population, exploits, score_of
from slrtune.sweep.population_search import PopulationSearch
from slrtune.sweep.results import best_lineage, read_results, write_best
from slrtune.sweep.schedule import Leg, Turn, lineage
from slrtune.training import inheritance
from tests.sweep.simulated import ProductPredictor

_RATE, _BATCH, _DEPTH = (
    "training.learning_rate",
    "training.batch_size",
    "model.cnn_transformer.depth",
)
_MAX_EPOCHS, _EVERY, _NUM_TRIALS = 9, 3, 5
_SPACE = SearchSpace(
    "population",
    Experiment.model_validate(
        {
            "training": {"max_epochs": _MAX_EPOCHS},
            "sweep": {
                "scheduler": "pbt",
                "max_trials": _NUM_TRIALS,
                "pbt": {"perturb_every_epochs": _EVERY},
            },
        }
    ),
    (
        Parameter(_BATCH, choices=(4, 8, 16, 32)),
        Parameter(_RATE, low=1e-5, high=1e-1, log=True),
        Parameter("training.label_smoothing", low=0.0, high=0.3, step=0.1),
        Parameter("data.augmentation.rotation_degrees", choices=(0.0, 5.0, 10.0, 20.0)),
        Parameter(_DEPTH, low=1, high=8),
    ),
)  # fmt: skip
_PARAMS: Params = {
    _BATCH: 8, _RATE: 1e-3, "training.label_smoothing": 0.1,
    "data.augmentation.rotation_degrees": 5.0, _DEPTH: 2,
}  # fmt: skip


def test_the_worst_share_takes_over_from_the_best_and_the_middle_goes_its_way() -> None:
    scores = {number: (float(number), 0.0) for number in range(8)}
    for pair in exploits(scores, 0.25, "seed"):
        assert (pair.loser in (0, 1), pair.winner in (6, 7)) == (True, True)
    assert len(exploits(scores, 0.25, "seed")) == 2
    assert exploits(scores, 0.25, "seed") == exploits(scores, 0.25, "seed")
    assert exploits({0: (0.1, 0.0), 1: (0.2, 0.0)}, 0.25, "seed") == [Exploit(0, 1)]


def test_nobody_takes_over_from_one_that_is_no_better() -> None:
    assert exploits({0: (0.1, 0.0), 1: (0.1, 0.0)}, 0.5, "seed") == []
    assert exploits({0: (0.1, -2.0), 1: (0.1, -1.0)}, 0.5, "seed") == [Exploit(0, 1)]
    assert exploits({4: (0.1, 0.0)}, 0.5, "seed") == []


def test_the_last_epoch_counts_and_not_the_best() -> None:
    metrics = {"val_top1": 0.2, "best_val_top1": 0.9, "val_loss": float("nan")}
    assert score_of(metrics, OBJECTIVES["top1"]) == (0.2, float("-inf"))
    assert score_of({"val_wer": 0.2, "val_loss": 3.0}, OBJECTIVES["wer"]) == (-0.2, -3.0)


def test_what_cannot_change_stays_and_the_rest_moves_within_its_bounds() -> None:
    seen: dict[str, set[Any]] = {key: set() for key in _PARAMS}
    for seed in range(200):
        pbt = PBTConfig(resample_probability=0.0)
        drawn = explored(_SPACE, _PARAMS, pbt, random.Random(seed), lambda params: True)
        for key, value in drawn.items():
            seen[key].add(round(value, 9))
    assert (seen[_BATCH], seen[_DEPTH]) == ({8}, {2})
    assert seen[_RATE] == {0.8e-3, 1.2e-3}
    assert seen["training.label_smoothing"] == {0.0, 0.2}  # to the next step at least
    assert seen["data.augmentation.rotation_degrees"] == {0.0, 10.0}  # the one before or after


def test_a_setting_may_be_drawn_anew_from_its_whole_range() -> None:
    pbt = PBTConfig(resample_probability=1.0)
    rates = [
        explored(_SPACE, _PARAMS, pbt, random.Random(seed), lambda params: True)[_RATE]
        for seed in range(50)
    ]
    assert min(rates) < 1e-4 and max(rates) > 1e-2


def test_bounds_conditions_and_the_memory_budget_hold_for_what_is_perturbed() -> None:
    encoder = "training.encoder_learning_rate"
    bounded = Parameter(encoder, low=1e-5, high=1e-1, log=True, high_key=_RATE)
    space = replace(_SPACE, parameters=(*_SPACE.parameters, bounded))
    params = {**_PARAMS, encoder: 1e-3}
    for seed in range(100):
        drawn = explored(space, params, PBTConfig(), random.Random(seed), lambda params: True)
        assert drawn[encoder] <= drawn[_RATE]
    kept = explored(space, params, PBTConfig(), random.Random(0), lambda params: False)
    assert kept == params


def test_where_there_are_fewer_places_trials_take_turns_and_nobody_overtakes() -> None:
    population = Population(size=3, num_places=2, meetings=[3, 6])
    population.join(0)
    population.join(1)
    assert not population.has_place
    population.arrive(0, (0.5, 0.0))
    assert population.has_place and not population.has_met and population.ready == []
    population.join(2)
    population.arrive(1, (0.6, 0.0))
    assert not population.has_met
    population.end(2)  # it failed: the others do not wait for ever
    assert population.has_met
    assert population.scores == {0: (0.5, 0.0), 1: (0.6, 0.0)}
    population.go_on()
    assert (population.until_epoch, population.ready) == (6, [0, 1])


def test_the_lineage_follows_the_weights_from_trial_to_trial() -> None:
    schedules = {
        0: (Turn(0, {"a": 0}), Turn(6, {"a": 1}, 2)),
        1: (Turn(0, {"a": 2}),),
        2: (Turn(0, {"a": 3}), Turn(3, {"a": 4}, 1)),
    }
    assert lineage(schedules, 0, 8) == [
        Leg(1, 1, 3, {"a": 2}),
        Leg(2, 4, 6, {"a": 4}),
        Leg(0, 7, 8, {"a": 1}),
    ]
    assert lineage(schedules, 0, 6) == [Leg(0, 1, 6, {"a": 0})]


class KilledError(Exception):
    """The driver's end."""


class Drive:
    """Runs a population in Tune's order of calls, with checkpoints that hold a trial's skill.

    Args:
        folder: the sweep's.
        num_places: trials at a time.
        calls: an item for every call; the driver is killed when none is left.
    """

    def __init__(self, folder: Path, num_places: int, calls: Iterator[int] | None = None) -> None:
        self.folder, self._calls = folder, calls
        folder.mkdir(exist_ok=True)
        budget = MemoryBudget(6.0, ProductPredictor())
        self.search = PopulationSearch(_SPACE, folder, budget, num_places=num_places)
        self.trained: list[tuple[int, int, float]] = []

    def run(self) -> None:
        search, population = self.search, self.search.population
        open_trials: dict[int, str] = {}
        ended = [t for t in search.earlier if t.has_ended and t.row.state != "infeasible"]
        num_left = _NUM_TRIALS - len(ended)
        for _ in range(1000):
            self._alive()
            while num_left and (config := search.suggest(f"{num_left}")) is not None:
                assert isinstance(config, dict)
                open_trials[config["number"]] = f"{num_left}"
                num_left -= 1
                self._train(config, open_trials)
            search.meet()
            if population.ready and population.has_place:
                number = population.ready[0]
                population.run(number)
                self._train(search.config_of(number), open_trials)
            if not open_trials and not num_left:
                return
        raise AssertionError("it never ends")

    def _train(self, config: dict[str, Any], open_trials: dict[int, str]) -> None:
        number, until = config["number"], config["until_epoch"] or _MAX_EPOCHS
        checkpoints = trial_folder(self.folder, number) / "checkpoints"
        checkpoints.mkdir(parents=True, exist_ok=True)
        last, inherited = checkpoints / "last.pt", checkpoints / "inherited.pt"
        state = json.loads(last.read_text()) if last.exists() else {"skill": 0.0, "history": []}
        if inherited.exists():
            state["skill"] = json.loads(inherited.read_text())["skill"]
            assert len(json.loads(inherited.read_text())["history"]) == len(state["history"])
            state["settings"] = config["params"]
            _write(last, state)
            inherited.unlink()
        # as the engine: only with the settings that the checkpoint was made with
        assert state.get("settings", config["params"]) == config["params"]
        state["settings"] = config["params"]
        if state["history"]:
            self._report(number, state["history"], open_trials[number])
        while len(state["history"]) < until:
            rate = config["params"][_RATE]
            state["skill"] += rate if rate < 0.05 else -rate
            state["history"].append(state["skill"])
            _write(last, state)
            self._alive()
            self._report(number, state["history"], open_trials[number])
            self.trained.append((number, len(state["history"]), rate))
        if until == _MAX_EPOCHS:
            self.search.population.end(number)
            self.search.on_trial_complete(open_trials.pop(number), _metrics(state["history"]))
        else:
            self.search.arrive(number, _metrics(state["history"]))
        self._alive()

    def _report(self, number: int, history: list[float], trial_id: str) -> None:
        self.search.on_trial_result(trial_id, _metrics(history))
        self._alive()

    def _alive(self) -> None:
        if self._calls is not None and next(self._calls, None) is None:
            raise KilledError


def _write(file: Path, state: dict[str, Any]) -> None:
    file.unlink(missing_ok=True)  # another file: what was linked stays as it was
    file.write_text(json.dumps(state))


def _metrics(history: list[float]) -> dict[str, Any]:
    best = max(history)
    return {
        "epoch": len(history), "max_epochs": _MAX_EPOCHS, "val_top1": history[-1],
        "best_val_top1": best, "best_val_loss": 1.0, "total_s": 1.0,
    }  # fmt: skip


def told(search: PopulationSearch) -> list[tuple[Any, ...]]:
    """What the study says of each trial, but when."""
    return [
        (t.number, t.state, t.user_attrs.get("schedule"), t.params, t.intermediate_values, t.values)
        for t in search.study.get_trials()
    ]


@pytest.mark.parametrize("num_places", [1, 2, 5])
def test_it_makes_no_difference_how_many_run_at_a_time(tmp_path: Path, num_places: int) -> None:
    all_at_a_time = Drive(tmp_path / "all", 5)
    all_at_a_time.run()
    drive = Drive(tmp_path / "s", num_places)
    drive.run()
    assert told(drive.search) == told(all_at_a_time.search)


def test_a_population_that_is_killed_again_and_again_tells_the_same_as_an_unbroken_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unbroken = Drive(tmp_path / "unbroken", 2)
    unbroken.run()
    takers = [t for t in unbroken.search.study.trials if len(t.user_attrs.get("schedule", ())) > 1]
    assert len(takers) > 1
    for num_calls in (17, 23, 31, 40):
        killed: list[Drive] = []

        def hand_over(winner: Path, loser: Path, killed: list[Drive] = killed) -> None:
            killed[-1]._alive()
            inheritance.hand_over(winner, loser)
            killed[-1]._alive()

        monkeypatch.setattr(population_search, "hand_over", hand_over)
        for _ in range(100):
            killed.append(Drive(tmp_path / f"{num_calls}", 2, iter(range(num_calls))))
            with contextlib.suppress(KilledError):
                killed[-1].run()
                break
        assert len(killed) > 2
        assert told(killed[-1].search) == told(unbroken.search)
        monkeypatch.undo()


def test_a_meeting_is_not_held_where_nobody_is_left_to_train(tmp_path: Path) -> None:
    search = Drive(tmp_path / "s", _NUM_TRIALS).search
    numbers = []
    for trial_id in range(_NUM_TRIALS):
        config = search.suggest(f"{trial_id}")
        assert isinstance(config, dict)
        numbers.append(config["number"])
        search.on_trial_result(f"{trial_id}", _metrics([0.1] * _EVERY))
        search.arrive(config["number"], _metrics([0.1 * trial_id] * _EVERY))
    search.lost = "its node is gone"
    search.meet()
    # Each finds out by itself, and waits for the next start of the sweep as it is.
    assert search.population.ready == numbers
    assert search.population.num_held == 0
    assert all(len(trial.user_attrs["schedule"]) == 1 for trial in search._open.values())


def test_what_is_shown_of_a_trial_is_what_its_best_epoch_was_trained_with(tmp_path: Path) -> None:
    drive = Drive(tmp_path / "s", 2)
    drive.run()
    write_plan(SweepPlan(_SPACE, tmp_path / "s", TrialShare(1, 1.0, 0.0, 2)))
    results = read_results(tmp_path / "s")
    rates = {(number, epoch): rate for number, epoch, rate in drive.trained}
    study = {trial.number: trial for trial in drive.search.study.get_trials()}
    for row in results.launched:
        assert row.best_value == max(study[row.number].intermediate_values.values())
        assert row.params[_RATE] == rates[row.number, row.best_epoch]
        assert study[row.number].params == row.params
        assert study[row.number].state == TrialState.COMPLETE
    taker = next(row for row in results.launched if len(row.schedule) > 1)
    # as if the others had not done as well
    others = [replace(row, metrics={}) for row in results.rows if row is not taker]
    only = replace(results, rows=[taker, *others])
    legs = best_lineage(only)
    assert legs[0].first_epoch == 1
    assert legs[-1].last_epoch == taker.best_epoch
    assert len({leg.trial for leg in legs}) > 1
    for leg in legs:
        for epoch in range(leg.first_epoch, leg.last_epoch + 1):
            assert rates[leg.trial, epoch] == leg.params[_RATE]
    write_best(only)
    assert "best_schedule.yaml" in (tmp_path / "s" / "best.yaml").read_text()
    written = yaml.safe_load((tmp_path / "s" / "best_schedule.yaml").read_text())
    assert [Leg(**leg) for leg in written] == legs
