"""Accuracy against memory: what is shown of a sweep beside its leaderboard."""

from __future__ import annotations

from pathlib import Path

import pytest

from slrtune.cli.main import app
from slrtune.config.experiment import Experiment
from slrtune.config.json_file import write_json
from slrtune.config.objective import OBJECTIVES
from slrtune.config.validate import experiment_from_dict
from slrtune.sweep.board import TrialRow, best_of
from slrtune.sweep.front import best_of_models, best_within, pareto_front
from slrtune.sweep.results import SweepResults
from tests.sweep.simulated import SPACE, a_search, an_epoch, run_trials


def row(number: int, accuracy: float, peak_gib: float, state: str = "completed") -> TrialRow:
    metrics = {"best_val_top1": accuracy, "peak_memory_gib": peak_gib}
    return TrialRow(number, {}, OBJECTIVES["top1"], state, metrics)  # type: ignore[arg-type]


_ROWS = [
    row(0, 0.5, 4.0), row(1, 0.7, 9.0), row(2, 0.6, 9.0), row(3, 0.9, 30.0),
    row(4, 0.7, 20.0), row(5, 0.4, 5.0), row(6, 0.95, 6.0, "oom"), row(7, 0.5, 4.0, "pruned"),
]  # fmt: skip


def test_the_front_holds_the_trials_that_no_other_beats_in_both() -> None:
    assert [r.number for r in pareto_front(_ROWS)] == [0, 1, 3]


def test_the_best_of_each_gpu_size_fits_it_as_measured() -> None:
    best = {size: r.number if r else None for size, r in best_within(_ROWS).items()}
    assert best == {8: 0, 12: 1, 16: 1, 24: 1, 40: 3, 80: 3}
    assert best_within([row(0, 0.5, 8.01)])[8] is None


def test_what_ran_out_of_memory_or_over_the_budget_is_never_the_best() -> None:
    assert best_of(_ROWS).number == 3  # type: ignore[union-attr]
    assert best_of(_ROWS, 10.0).number == 1  # type: ignore[union-attr]
    assert best_of([_ROWS[6]]) is None


def test_the_best_of_each_model_also_where_the_model_is_not_searched() -> None:
    rows = [row(0, 0.5, 1.0), row(1, 0.9, 1.0), row(2, 0.7, 1.0)]
    for index, name in enumerate(("timesformer", "cnn_transformer", "timesformer")):
        rows[index].params["model.name"] = name
    best = best_of_models(SweepResults(Path(), Experiment(), rows))
    assert [(name, r.number) for name, r in best.items()] == [
        ("cnn_transformer", 1), ("timesformer", 2),
    ]  # fmt: skip
    only = best_of_models(SweepResults(Path(), Experiment(), _ROWS))
    assert list(only) == ["cnn_transformer"]


def test_results_prints_front_sizes_models_and_what_was_not_launched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "runs" / "s"
    search = a_search(folder, 9.0, objective="pareto")
    run_trials(search, 6)
    config = search.suggest("oom")
    while not isinstance(config, dict):
        config = search.suggest("oom")
    oom = {"outcome": "oom", "error": "OutOfMemoryError: CUDA out of memory", "max_epochs": 4}
    search.on_trial_complete("oom", an_epoch(config["params"], 1) | oom | {"peak_memory_gib": 8.5})
    num_infeasible = len(search.study.get_trials()) - 7
    raw = SPACE.base.model_dump(mode="json") | {"sweep": {"objective": "pareto"}}
    base = experiment_from_dict(raw, "test").model_dump(mode="json")
    write_json(folder / "sweep.json", {"experiment": base, "budget_gib": 9.0})
    app(["results", "s", "--runs-dir", str(folder.parent)], standalone_mode=False)
    output = capsys.readouterr().out
    assert "7 trials: 6 completed, 1 oom" in output
    if num_infeasible:
        assert f"{num_infeasible} configuration" in output
        assert "predicted over the budget of 9 GiB and not launched" in output
    assert "ran out of memory at ≥ 8.50 GiB (OutOfMemoryError: CUDA out of memory)" in output
    assert "Pareto front" in output
    for size in ("8 GiB", "12 GiB", "16 GiB", "24 GiB", "40 GiB", "80 GiB"):
        assert size in output
    table = output[output.index("Best of each model") :]
    assert "inference GiB" in table
    assert "cnn_transformer" in table
