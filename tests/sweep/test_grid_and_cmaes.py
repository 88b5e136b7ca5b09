"""A grid is tried whole and once; CMA-ES learns; both refuse what they cannot search."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from slrtune.config.errors import ConfigError
from slrtune.config.overrides import read_overrides
from slrtune.config.search_space import Parameter, Params, SearchSpace
from slrtune.config.search_space_file import load_search_space
from slrtune.sweep.searcher import TruthfulSearch
from tests.sweep.simulated import SPACE

_RATE, _DECAY, _DEPTH = (
    "training.learning_rate", "training.weight_decay", "model.cnn_transformer.depth",
)  # fmt: skip
_RANGES = replace(
    SPACE,
    parameters=(
        Parameter(_RATE, low=1e-5, high=1e-1, log=True),
        Parameter(_DECAY, low=0.0, high=0.5),
        Parameter(_DEPTH, low=1, high=8),
    ),
)


def accuracy_of(params: Params) -> float:
    """Best at a rate of 1e-3, a decay of 0.1 and a depth of 6."""
    rate = (math.log10(params[_RATE]) + 3) / 4
    return 1 - rate**2 - (params[_DECAY] - 0.1) ** 2 - ((params[_DEPTH] - 6) / 8) ** 2


def run(space: SearchSpace, folder: Path, sampler: str, num_trials: int) -> list[Params]:
    """Let ``num_trials`` run, or fewer where the search ends itself."""
    folder.mkdir(exist_ok=True)
    sweep = space.base.sweep.model_copy(update={"sampler": sampler})
    search, launched = TruthfulSearch(space, sweep, folder), []
    for index in range(num_trials):
        config = search.suggest(f"{index}")
        if config == "FINISHED":
            assert search.is_tried_out
            break
        assert isinstance(config, dict)
        launched.append(config["params"])
        value = accuracy_of(config["params"]) if _RATE in config["params"] else 0.5
        end = {"epoch": 1, "max_epochs": 1, "best_val_top1": value}
        search.on_trial_complete(f"{index}", end)
    return launched


def test_a_grid_is_tried_whole_each_configuration_once_and_then_the_search_ends(
    tmp_path: Path,
) -> None:
    space = replace(
        SPACE,
        parameters=(
            Parameter("model.name", choices=("cnn_transformer", "timesformer")),
            Parameter(_DECAY, low=0.0, high=0.2, step=0.1),
            Parameter(_DEPTH, low=1, high=2, when=(("model.name", ("cnn_transformer",)),)),
        ),
        points=({_DECAY: 0.1},),
    )
    first = run(space, tmp_path / "s", "grid", 4)
    rest = run(space, tmp_path / "s", "grid", 99)  # resumed
    tried = [tuple(sorted(params.items())) for params in first + rest]
    assert len(tried) == len(set(tried)) == 3 + 3 * 2
    assert first[0][_DECAY] == 0.1


def test_cma_es_comes_closer_than_random_and_goes_on_where_it_was(tmp_path: Path) -> None:
    whole = run(_RANGES, tmp_path / "whole", "cmaes", 60)
    parts = [
        params for num in (20, 5, 35) for params in run(_RANGES, tmp_path / "parts", "cmaes", num)
    ]
    assert parts == whole
    by_chance = run(_RANGES, tmp_path / "random", "random", 60)
    late, random_late = (sum(map(accuracy_of, params[-20:])) / 20 for params in (whole, by_chance))
    assert late > random_late + 0.1
    assert all(1 <= params[_DEPTH] <= 8 and isinstance(params[_DEPTH], int) for params in whole)


@pytest.mark.parametrize(
    ("sampler", "parameters", "wanted"),
    [
        ("grid", f"  {_RATE}: {{low: 1e-4, high: 1e-2}}", ":2: .*must have choices or a step"),
        ("cmaes", f"  {_RATE}: {{choices: [1e-4, 1e-2]}}", ":2: .*must be a range"),
        ("cmaes", f"  {_RATE}: {{low: 1e-4, high: 1e-2}}", ":1: .*must be at least two"),
        (
            "cmaes",
            "  model.name: {choices: [cnn_transformer, timesformer]}\n"
            f"  {_DEPTH}: {{low: 1, high: 8}}",
            ":3: .*must have no condition",
        ),
        (
            "grid",
            f"  {_RATE}: {{low: 0.0, high: 1.0, step: 1.0e-3}}\n"
            f"  {_DECAY}: {{low: 0.0, high: 1.0, step: 1.0e-3}}",
            "make a grid of 1e",
        ),
    ],
)
def test_what_a_sampler_cannot_search_is_refused_with_its_line(
    tmp_path: Path, sampler: str, parameters: str, wanted: str
) -> None:
    (tmp_path / "e.yaml").write_text("data: {source: fingerspelling}\n")
    (tmp_path / "space.yaml").write_text(f"parameters:\n{parameters}\n")
    with pytest.raises(ConfigError, match=wanted):
        load_search_space(
            tmp_path / "space.yaml",
            tmp_path / "e.yaml",
            read_overrides([f"sweep.sampler={sampler}"]),
        )
