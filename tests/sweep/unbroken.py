"""The same sweep where nothing happens: without Ray, one trial after the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from optuna.trial import FrozenTrial, TrialState

from slrtune.config.search_space import Params, SearchSpace
from slrtune.sweep.searcher import TruthfulSearch
from slrtune.training.trial import train_trial


def suggested(space: SearchSpace, folder: Path, num_trials: int) -> list[Params]:
    """Parameters of the first trials; not for a sampler that learns."""
    folder.mkdir()
    search = TruthfulSearch(space, space.base.sweep, folder)
    configs: list[Any] = [search.suggest(f"{number}") for number in range(num_trials)]
    return [config["params"] for config in configs]


def best_epoch(space: SearchSpace, params: Params, folder: Path) -> dict[str, float]:
    """Metrics of the best epoch of one trial, with the threads of a worker of one CPU."""
    torch.set_num_threads(1)  # another number adds up floats in another order
    return train_trial(space.experiment(params), folder, lambda metrics: True).best


def assert_as_unbroken(trials: list[FrozenTrial], space: SearchSpace, folder: Path) -> None:
    """Trials of a sweep of one-CPU workers without a scheduler are what they would have become if
    nothing had happened to it.

    Args:
        trials: all of them, each to its end.
        space: whose sampler does not learn.
        folder: an empty one to train in.
    """
    assert [t.params for t in trials] == suggested(space, folder / "here", len(trials))
    for trial in trials:
        best = best_epoch(space, trial.params, folder / f"{trial.number}")
        assert trial.state == TrialState.COMPLETE
        assert trial.value == best["val_top1"]
        assert trial.user_attrs["best_val_loss"] == best["val_loss"]
        assert sorted(trial.intermediate_values) == list(range(1, space.max_epochs + 1))
