"""Trials without Ray and without training: what the searcher is told, and what it makes of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slrtune.config.experiment import Experiment
from slrtune.config.search_space import Parameter, Params, SearchSpace
from slrtune.config.sweep import SweepConfig
from slrtune.sweep.constraints import MemoryBudget
from slrtune.sweep.searcher import TruthfulSearch

MAX_EPOCHS = 4


@dataclass(frozen=True)
class Needs:
    """A prediction that is known."""

    train_peak_gib: float

    @property
    def inference_peak_gib(self) -> float:
        return self.train_peak_gib / 4


class ProductPredictor:
    """Memory as a product of sizes, as of a model whose activations outweigh all else."""

    def __init__(self) -> None:
        self.num_calls = 0

    def predict(self, experiment: Experiment) -> Needs:
        self.num_calls += 1
        section = experiment.model.cnn_transformer
        return Needs(experiment.training.batch_size * (1 + section.depth) / 16)


SPACE = SearchSpace(
    "simulated",
    Experiment(),
    (
        Parameter("training.batch_size", choices=(4, 8, 16, 32)),
        Parameter("training.learning_rate", low=1e-4, high=1e-2, log=True),
        Parameter("model.cnn_transformer.depth", low=1, high=8),
    ),
)


def accuracy_of(params: Params) -> float:
    """Larger is better, at a learning rate of 1e-3: the best lies at the budget's edge."""
    size = params["training.batch_size"] * (1 + params["model.cnn_transformer.depth"])
    return 0.5 + 0.05 * math.log(size) - 0.2 * abs(math.log10(params["training.learning_rate"]) + 3)


def a_search(folder: Path, budget_gib: float | None = None, **settings: Any) -> TruthfulSearch:
    """A search over `SPACE` in ``folder``, under a budget where there is one."""
    folder.mkdir(parents=True, exist_ok=True)
    budget = MemoryBudget(budget_gib, ProductPredictor())
    return TruthfulSearch(SPACE, SweepConfig(**settings), folder, budget)


def an_epoch(params: Params, epoch: int, **more: Any) -> dict[str, Any]:
    """What a trial reports of an epoch."""
    return {
        "epoch": epoch,
        "max_epochs": MAX_EPOCHS,
        "best_val_top1": accuracy_of(params) * epoch / MAX_EPOCHS,
        "best_val_loss": 1.0,
        "peak_memory_gib": params["training.batch_size"]
        * (1 + params["model.cnn_transformer.depth"])
        / 16,
        "total_s": float(epoch),
        **more,
    }


def run_trials(
    search: TruthfulSearch,
    num_trials: int,
    last_epoch: Callable[[int], int] = lambda _: MAX_EPOCHS,
) -> list[Params]:
    """Let trials run one after the other up to ``last_epoch(index)``; their parameters."""
    launched = []
    for index in range(num_trials):
        trial_id = f"{index}"
        config = search.suggest(trial_id)
        while config is None:
            config = search.suggest(trial_id)
        assert isinstance(config, dict)
        launched.append(config["params"])
        result: dict[str, Any] = {}
        for epoch in range(1, last_epoch(index) + 1):
            result = an_epoch(config["params"], epoch)
            search.on_trial_result(trial_id, result)
        search.on_trial_complete(trial_id, result)
    return launched
