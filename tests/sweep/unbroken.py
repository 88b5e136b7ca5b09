"""The same sweep where nothing happens: without Ray, one trial after the other."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from optuna.trial import FrozenTrial, TrialState

from slrtune.config.search_space import Params, SearchSpace
from slrtune.sweep.scheduler import make_scheduler
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


def without_ray(space: SearchSpace, folder: Path) -> None:
    """The same sweep, undisturbed, in this process: real search, scheduler and training."""
    torch.set_num_threads(1)  # as a worker
    folder.mkdir()
    search = TruthfulSearch(space, space.base.sweep, folder)
    scheduler: Any = make_scheduler(space.base.sweep, space.base.objective, space.max_epochs)
    for _ in range(space.base.sweep.max_trials):
        config = search.suggest("it")
        trial = SimpleNamespace(config=config, trial_id="it")
        scheduler.on_trial_add(None, trial)
        experiment = space.experiment(config["params"])  # type: ignore[index,call-overload]
        last: dict[str, Any] = {"max_epochs": experiment.training.max_epochs}

        def report(metrics: dict[str, float], trial: Any = trial, last: Any = last) -> bool:
            last.update(metrics)
            if scheduler.on_trial_result(None, trial, last) == "STOP":
                return False
            search.on_trial_result("it", dict(last))
            return True

        train_trial(experiment, folder / f"{config['number']}", report)  # type: ignore[index,call-overload]
        scheduler.on_trial_complete(None, trial, last)
        search.on_trial_complete("it", last)


def told(trial: FrozenTrial) -> tuple[Any, ...]:
    """What the study says of a trial, but when."""
    return trial.number, trial.state, trial.params, trial.intermediate_values, trial.value


class Unbroken:
    """What the trials of a sweep without a scheduler become where nothing happens to it: with one
    CPU each, in a process beside the test, which mostly waits. A context manager.

    Args:
        space: whose sampler does not learn.
        num_trials: the first so many.
        folder: an empty one to train in.
    """

    def __init__(self, space: SearchSpace, num_trials: int, folder: Path) -> None:
        self._num_epochs = space.max_epochs
        self._params = suggested(space, folder / "here", num_trials)
        self._pool = ProcessPoolExecutor(1, get_context("spawn"), os.nice, (10,))
        self._best = [
            self._pool.submit(best_epoch, space, params, folder / f"{number}")
            for number, params in enumerate(self._params)
        ]

    def __enter__(self) -> Unbroken:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def assert_equals(self, trials: list[FrozenTrial]) -> None:
        """All of them ran to their end, and to these very figures."""
        assert [trial.params for trial in trials] == self._params
        for trial, found in zip(trials, self._best, strict=True):
            best = found.result()
            assert trial.state == TrialState.COMPLETE
            assert trial.value == best["val_top1"]
            assert trial.user_attrs["best_val_loss"] == best["val_loss"]
            assert sorted(trial.intermediate_values) == list(range(1, self._num_epochs + 1))
