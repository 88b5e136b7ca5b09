"""What a new sweep takes over from an earlier one, and what it must not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from optuna.trial import TrialState

from slrtune.cli.main import app
from slrtune.config.errors import UserError
from slrtune.config.json_file import write_json
from slrtune.config.search_space import Parameter, SearchSpace
from slrtune.config.sweep import SweepConfig
from slrtune.sweep.constraints import CONSTRAINT, MemoryBudget
from slrtune.sweep.results import read_results
from slrtune.sweep.searcher import TruthfulSearch
from slrtune.sweep.warm_start import WarmStart, read_warm_start
from tests.sweep.simulated import SPACE, ProductPredictor, a_search, run_trials

_BUDGET_GIB = 4.0


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """The folder of a sweep of 12 trials, some stopped, with infeasible draws in between."""
    folder = tmp_path / "runs" / "earlier"
    run_trials(a_search(folder, _BUDGET_GIB), 12, last_epoch=lambda index: 2 + 2 * (index % 2))
    record(folder, _BUDGET_GIB)
    return folder


def record(folder: Path, budget_gib: float | None) -> None:
    plan = {"experiment": SPACE.base.model_dump(mode="json"), "budget_gib": budget_gib}
    write_json(folder / "sweep.json", plan)


def warm(
    earlier: Path, space: SearchSpace = SPACE, budget_gib: float | None = _BUDGET_GIB
) -> WarmStart:
    return read_warm_start(earlier, space, MemoryBudget(budget_gib, ProductPredictor()))


def a_warm_search(folder: Path, start: WarmStart) -> TruthfulSearch:
    search = a_search(folder, _BUDGET_GIB)
    search.study.add_trials(start.trials)
    return search


def test_finished_trials_are_taken_over_as_they_were(earlier: Path) -> None:
    start = warm(earlier)
    assert start.num_finished == len(start.trials) > 12
    states = {trial.user_attrs["outcome"]: trial.state for trial in start.trials}
    assert states == {
        "completed": TrialState.COMPLETE,
        "pruned": TrialState.PRUNED,
        "infeasible": TrialState.PRUNED,
    }
    for trial in start.trials:
        assert trial.user_attrs["warm_start_from"] == str(earlier)
        is_over = trial.user_attrs["outcome"] == "infeasible"
        assert (trial.constraints[CONSTRAINT] > 0) == is_over
        assert bool(trial.intermediate_values) != is_over


@pytest.mark.parametrize(
    ("section", "settings", "is_taken_over"),
    [
        ("data", {"root": Path("other")}, False),
        ("data", {"cache_dir": Path("other")}, True),
        ("training", {"label_smoothing": 0.3}, False),
        ("training", {"compile": True}, True),
    ],
)
def test_trials_of_other_settings_are_not_taken_over(
    earlier: Path, section: str, settings: dict[str, object], is_taken_over: bool
) -> None:
    changed = getattr(SPACE.base, section).model_copy(update=settings)
    space = replace(SPACE, base=SPACE.base.model_copy(update={section: changed}))
    assert bool(warm(earlier, space).trials) == is_taken_over


def test_a_warm_start_changes_suggestions_and_is_no_result(
    earlier: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cold = a_search(tmp_path / "cold", _BUDGET_GIB)
    folder = tmp_path / "runs" / "warm"
    hot = a_warm_search(folder, warm(earlier))
    drawn = [run_trials(search, 8) for search in (cold, hot)]
    assert drawn[0] != drawn[1]
    record(folder, _BUDGET_GIB)
    results = read_results(folder)
    assert len(results.launched) == 8
    assert results.num_warm == len(warm(earlier).trials)
    own = [row.number for row in results.rows]
    assert min(own) >= results.num_warm
    app(["results", "warm", "--runs-dir", str(folder.parent)], standalone_mode=False)
    output = capsys.readouterr().out
    assert "8 trials: " in output
    assert f"started from {results.num_warm} trials of an earlier sweep" in output


def test_a_warm_search_knows_from_its_first_draw_what_does_not_fit(
    earlier: Path, tmp_path: Path
) -> None:
    search = a_warm_search(tmp_path / "warm", warm(earlier))
    run_trials(search, 10)
    own = [t for t in search.study.get_trials() if "warm_start_from" not in t.user_attrs]
    assert len(own) <= 12  # a cold one draws about 20


def test_only_what_the_present_space_could_have_drawn_is_taken_over(earlier: Path) -> None:
    batch, rate, depth = SPACE.parameters
    wider = replace(SPACE, parameters=(batch, rate, replace(depth, high=20)))
    assert len(warm(earlier, wider).trials) == len(warm(earlier).trials)
    narrower = replace(SPACE, parameters=(batch, rate, replace(depth, high=4)))
    taken = warm(earlier, narrower).trials
    assert 0 < len(taken) < len(warm(earlier).trials)
    assert all(trial.params[depth.key] <= 4 for trial in taken)
    # No longer searched: only trials that had the value which is now fixed.
    fixed = replace(SPACE, parameters=(rate, depth))
    expected = sum(trial.params[batch.key] == 32 for trial in warm(earlier).trials)
    assert SPACE.base.training.batch_size == 32
    assert len(warm(earlier, fixed).trials) == expected > 0
    # Searched only now: all trials had the base's value, where that lies in the range.
    decay = Parameter("training.weight_decay", low=0.01, high=0.1)
    more = replace(SPACE, parameters=(*SPACE.parameters, decay))
    assert {trial.params[decay.key] for trial in warm(earlier, more).trials} == {0.05}


def test_what_did_not_fit_a_smaller_budget_is_forgotten_under_a_larger_one(earlier: Path) -> None:
    outcomes = [trial.user_attrs["outcome"] for trial in warm(earlier, budget_gib=99.0).trials]
    assert "infeasible" not in outcomes
    assert len(outcomes) == 12
    under_less = warm(earlier, budget_gib=1.0).trials
    over = [trial for trial in under_less if trial.constraints[CONSTRAINT] > 0]
    assert {trial.user_attrs["outcome"] for trial in over} > {"infeasible"}


def test_a_sweep_with_two_objectives_starts_from_one_with_one(earlier: Path) -> None:
    sweep = SweepConfig(objective="pareto")
    base = SPACE.base.model_copy(update={"sweep": sweep})
    trials = warm(earlier, replace(SPACE, base=base)).trials
    whole = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    assert len(whole) == 12
    assert all(len(trial.values) == 2 for trial in whole)


def test_a_warm_start_from_no_sweep_is_refused_before_any_work(
    tmp_path: Path, colors_experiment: Path
) -> None:
    arguments = ["sweep", "-e", str(colors_experiment), "--warm-start", "nothing"]
    with pytest.raises(UserError, match="is not the folder of a sweep"):
        app([*arguments, "--set", f"runs_dir={tmp_path / 'runs'}"], standalone_mode=False)
    assert not list((tmp_path / "runs").glob("*"))
