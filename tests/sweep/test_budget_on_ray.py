"""A sweep under a memory budget that half of its space exceeds, on real workers and real video."""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest
from optuna.trial import TrialState

from slrtune.cluster.resources import TrialShare
from slrtune.cluster.session import ray_session
from slrtune.config.objective import OBJECTIVES
from slrtune.config.overrides import Overrides
from slrtune.config.search_space_checks import RandomSuggester
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
from tests.cli_process import run_slrtune
from tests.sweep.test_sweep_on_ray import write_space

pytestmark = pytest.mark.ray

_SPACE = """
parameters:
  model.name: {choices: [cnn_transformer, timesformer]}
  training.batch_size: {choices: [4, 8, 16]}
  training.learning_rate: {low: 1e-4, high: 1e-2, log: true}
  data.num_frames: {choices: [2, 4, 8]}
  model.cnn_transformer.depth: {low: 1, high: 4}
  model.timesformer.depth: {low: 1, high: 4}
"""
_NUM_TRIALS = 40


def test_a_sweep_of_40_trials_keeps_to_a_budget_that_half_of_its_space_exceeds(
    tmp_path: Path, colors_experiment: Path
) -> None:
    written = Path(write_space(tmp_path, _SPACE))
    settings = {"sweep.max_trials": _NUM_TRIALS, "training.max_epochs": 1}
    space = load_search_space(written, colors_experiment, Overrides(settings))
    predictor = MemoryPredictor("cpu", OutputSizes(len(prepare_data(space.base.data).glosses)))
    draw = RandomSuggester(seed=0)
    needed = [predictor.predict(space.experiment(space.suggest(draw))) for _ in range(31)]
    budget_gib = statistics.median(prediction.train_peak_gib for prediction in needed)
    # The workers hold trials to it, too.
    settings["resources.memory_budget_gib"] = budget_gib
    space = load_search_space(written, colors_experiment, Overrides(settings))
    folder = tmp_path / "runs" / "s"
    folder.mkdir(parents=True)
    plan = SweepPlan(
        space, folder, TrialShare(1, 1.0, 0.0, 2), budget=MemoryBudget(budget_gib, predictor)
    )
    write_plan(plan)
    board = SweepBoard("s", _NUM_TRIALS, 2, OBJECTIVES["top1"], budget_gib)
    with ray_session():
        assert run_sweep(plan, board, ())
    trials = read_study(folder).get_trials()
    outcomes = [trial.user_attrs["outcome"] for trial in trials]
    print(f"{len(trials)} suggestions, last 20: {outcomes[-20:].count('infeasible')} infeasible")
    launched = [trial for trial in trials if trial.user_attrs["outcome"] != "infeasible"]
    assert len(launched) == _NUM_TRIALS
    assert max(trial.user_attrs["peak_memory_gib"] for trial in launched) <= budget_gib
    assert {trial.state for trial in launched} <= {TrialState.COMPLETE, TrialState.PRUNED}
    assert {trial.user_attrs["outcome"] for trial in launched} <= {"completed", "pruned"}
    assert outcomes[-20:].count("infeasible") <= 0.15 * 20
    for trial in trials:
        is_over = trial.user_attrs["outcome"] == "infeasible"
        assert (trial.constraints["memory_gib"] > 0) == is_over
    assert sorted(f.name for f in folder.glob("trial_*")) == [
        f"trial_{trial.number:03d}" for trial in launched
    ]
    assert board.num_infeasible == outcomes.count("infeasible") > 0
    assert len(read_results(folder).launched) == _NUM_TRIALS
    code, output = run_slrtune(["results", "s"], tmp_path)
    assert code == 0, output
    assert f"{board.num_infeasible} configurations were predicted over the budget" in output
    assert f"{_NUM_TRIALS} trials" in output
