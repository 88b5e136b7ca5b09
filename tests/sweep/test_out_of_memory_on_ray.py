"""Trials that run out of memory in real workers: the sweep goes on, and knows."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from slrtune.cluster import worker_groups
from slrtune.cluster.resources import TrialShare
from slrtune.cluster.session import ray_session
from slrtune.config.experiment import Experiment
from slrtune.config.objective import OBJECTIVES
from slrtune.config.overrides import Overrides
from slrtune.config.search_space import SearchSpace
from slrtune.config.search_space_file import load_search_space
from slrtune.data.prepare import prepare_data
from slrtune.memory import MemoryPredictor
from slrtune.sweep.board import SweepBoard
from slrtune.sweep.constraints import MemoryBudget
from slrtune.sweep.plan import SweepPlan, write_plan
from slrtune.sweep.results import read_results
from slrtune.sweep.runner import run_sweep
from slrtune.sweep.study import read_study
from slrtune.training.construction import OutputSizes
from tests.sweep.failing_workers import TOO_LARGE, serve_trials_with_oom
from tests.sweep.simulated import Needs
from tests.sweep.test_sweep_on_ray import write_space

pytestmark = pytest.mark.ray

_SPACE = f"""
parameters:
  training.batch_size: {{choices: [8, {TOO_LARGE}]}}
  training.seed: {{low: 0, high: 9}}
points:
  - {{training.batch_size: 8, training.seed: 0}}
  - {{training.batch_size: {TOO_LARGE}, training.seed: 1}}
  - {{training.batch_size: 8, training.seed: 2}}
"""


@pytest.fixture(scope="module")
def session() -> Iterator[None]:
    with ray_session(use_dashboard=True):  # which isolated trials need
        yield


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the trials note in their workers, which run out of memory on large batches."""
    path = tmp_path / "notes.jsonl"

    def serve(config: dict[str, Any]) -> None:
        serve_trials_with_oom({**config, "notes": str(path)})

    monkeypatch.setattr(worker_groups, "serve_trials", serve)
    return path


def space_of(tmp_path: Path, experiment: Path, **settings: float) -> SearchSpace:
    overrides = Overrides({"sweep.max_trials": 3, "sweep.scheduler": "none", **settings})
    space = load_search_space(Path(write_space(tmp_path, _SPACE)), experiment, overrides)
    prepare_data(space.base.data)
    return space


def sweep_in(folder: Path, space: SearchSpace, num_workers: int) -> optuna.Study:
    folder.mkdir()
    plan = SweepPlan(space, folder, TrialShare(num_workers, 1.0, 0.0, 1))
    write_plan(plan)
    assert run_sweep(plan, SweepBoard(folder.name, 3, 1, OBJECTIVES["top1"]), ())
    return read_study(folder)


@pytest.mark.parametrize("num_workers", [1, 2])
def test_a_sweep_goes_on_after_an_oom_in_the_middle_of_an_epoch(
    session: None, tmp_path: Path, colors_experiment: Path, notes: Path, num_workers: int
) -> None:
    space = space_of(tmp_path, colors_experiment)
    started_s = time.monotonic()
    study = sweep_in(tmp_path / "s", space, num_workers)
    print(f"{num_workers} worker(s): {time.monotonic() - started_s:.1f} s")
    before, oom, after = study.get_trials()
    assert (before.state, after.state) == (TrialState.COMPLETE, TrialState.COMPLETE)
    assert oom.state == TrialState.PRUNED
    assert oom.constraints["memory_gib"] > 0
    assert (oom.user_attrs["outcome"], oom.user_attrs["peak_memory_gib"]) == ("oom", 1.5)
    assert list(oom.intermediate_values) == [1]
    results = read_results(tmp_path / "s")
    assert results.rows[-1].state == "oom"
    assert results.best is not None
    assert results.best.state == "completed"
    noted = [json.loads(line) for line in notes.read_text().splitlines()]
    first, last = noted[0], noted[-1]
    assert last["mib"] < first["mib"] + 1  # nothing of the failed trial is left
    if num_workers == 1:
        assert first["pid"] == last["pid"]  # and its worker goes on


class Optimist:
    """Predicts that everything fits."""

    def predict(self, experiment: Experiment) -> Needs:
        return Needs(0.001)


@pytest.mark.parametrize("isolate_trials", [False, True])
def test_what_takes_more_than_predicted_is_stopped_at_the_budget_and_told_as_infeasible(
    session: None, tmp_path: Path, colors_experiment: Path, isolate_trials: bool
) -> None:
    space = space_of(tmp_path, colors_experiment)
    predictor = MemoryPredictor("cpu", OutputSizes(4))
    small, large = (
        predictor.train_peak_gib(space.experiment({"training.batch_size": size}))
        for size in (8, TOO_LARGE)
    )
    budget_gib = (small + large) / 2
    settings = {"resources.memory_budget_gib": budget_gib, "sweep.max_trials": 2}
    space = space_of(tmp_path, colors_experiment, **settings)
    folder = tmp_path / "s"
    folder.mkdir()
    budget = MemoryBudget(budget_gib, Optimist())
    plan = SweepPlan(space, folder, TrialShare(1, 1.0, 0.0, 1), isolate_trials, budget)
    write_plan(plan)
    assert run_sweep(plan, SweepBoard("s", 2, 1, OBJECTIVES["top1"], budget_gib), ())
    fitting, oom = read_study(folder).get_trials()
    assert fitting.state == TrialState.COMPLETE
    assert fitting.user_attrs["peak_memory_gib"] <= budget_gib
    assert fitting.constraints["memory_gib"] <= 0
    assert (oom.state, oom.user_attrs["outcome"]) == (TrialState.PRUNED, "oom")
    assert oom.user_attrs["peak_memory_gib"] > budget_gib
    over_gib = oom.user_attrs["peak_memory_gib"] - budget_gib
    assert oom.constraints["memory_gib"] == max(over_gib, 0.01)  # never as if it hardly mattered
    assert oom.user_attrs["error"].startswith("BudgetExceededError: the tensors of a training")
