"""A sweep's folder as the real searcher and writers leave it, with a trial of every outcome."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from slrtune.cluster.resources import TrialShare
from slrtune.config.experiment import Experiment
from slrtune.config.search_space import Parameter, Params, SearchSpace
from slrtune.sweep.constraints import MemoryBudget
from slrtune.sweep.plan import SweepPlan, write_plan
from slrtune.sweep.searcher import TruthfulSearch
from tests.sweep.simulated import Needs, accuracy_of

HOSTILE = "</script><script>window.pwned=1</script><img src=x onerror=window.pwned=1>$\\frac"
BUDGET_GIB = 6.0
_MAX_EPOCHS = 9
_ERROR = f"RuntimeError: shape {HOSTILE}"

_CNN = (("model.name", ("cnn_transformer",)),)


def a_space(base: Experiment) -> SearchSpace:
    """Of two models for glosses, one of which has parameters of its own, one with hostile text."""
    everywhere = (
        Parameter("training.batch_size", choices=(4, 8, 16, 32)),
        Parameter("training.learning_rate", low=1e-4, high=1e-2, log=True),
    )
    of_recognition = (
        Parameter("model.name", choices=("cnn_transformer", "timesformer")),
        Parameter("model.cnn_transformer.depth", low=1, high=8, when=_CNN),
        Parameter("model.cnn_transformer.backbone", choices=("resnet18", HOSTILE), when=_CNN),
    )
    is_recognition = base.model.task == "recognition"
    return SearchSpace("letters", base, (*everywhere, *(of_recognition if is_recognition else ())))


class _ByBatch:
    """Predicts that only the largest batch of the deepest models is over the budget."""

    def predict(self, experiment: Experiment) -> Needs:
        return Needs(_peak_gib(experiment.training.batch_size, experiment))


def _peak_gib(batch_size: int, experiment: Experiment) -> float:
    return batch_size * (1 + experiment.model.cnn_transformer.depth) / 32


def write_sweep(
    folder: Path, num_trials: int = 30, model: str = "cnn_transformer", judged_by: str = "auto"
) -> None:
    """Let a search run that many trials, simulated; the last one is still running."""
    settings = {
        "training": {"max_epochs": _MAX_EPOCHS, "judged_by": judged_by},
        "model": {"name": model},
        "data": {"root": f"/videos/{HOSTILE}"},
        "sweep": {"max_trials": num_trials, "sampler": "random", "asha": {"grace_epochs": 1}},
    }
    base = Experiment.model_validate(settings)
    space, budget = a_space(base), MemoryBudget(BUDGET_GIB, _ByBatch())
    folder.mkdir(parents=True)
    share = TrialShare(1, 1.0, 0.0, 2)
    write_plan(SweepPlan(space, folder, share, budget=budget))
    search = TruthfulSearch(space, base.sweep, folder, budget)
    for index in range(num_trials):
        config = search.suggest(f"{index}")
        while config is None:
            config = search.suggest(f"{index}")
        assert isinstance(config, dict)
        _run(search, folder, index, config, is_last=index == num_trials - 1)


def _run(
    search: TruthfulSearch,
    folder: Path,
    index: int,
    config: dict[str, Any],
    *,
    is_last: bool,
) -> None:
    whereabouts = {"node": f"<b>host</b>-{index % 2}", "started_at": time.time()}
    result: dict[str, Any] = {"number": config["number"], "max_epochs": _MAX_EPOCHS, **whereabouts}
    last_epoch = {0: 1, 1: 3, 2: _MAX_EPOCHS}[index % 3]
    if index in (4, 5):
        last_epoch = 0
    for epoch in range(1, last_epoch + 1):
        result |= _an_epoch(config["params"], epoch, search)
        search.on_trial_result(f"{index}", dict(result))
    if is_last:
        return
    if index == 4:
        result |= {"outcome": "oom", "error": "OutOfMemoryError: <i>no room</i>"}
        result["peak_memory_gib"] = BUDGET_GIB
    if index == 5:
        result |= {"outcome": "error", "error": _ERROR}
        place = folder / f"trial_{config['number']:03d}"
        place.mkdir()
        (place / "error.txt").write_text(f"{_ERROR}\n\nTraceback: {HOSTILE}")
    search.on_trial_complete(f"{index}", dict(result))


def _an_epoch(params: Params, epoch: int, search: TruthfulSearch) -> dict[str, Any]:
    objective = search._objective
    depth = params.get("model.cnn_transformer.depth", 2)
    known = {**params, "model.cnn_transformer.depth": depth}
    accuracy = accuracy_of(known) * (1 - 0.6**epoch)
    value = accuracy if objective.mode == "max" else 1.0 - accuracy
    return {
        "epoch": epoch,
        "train_loss": 1 - accuracy,
        objective.best_metric: value,
        objective.best_companion: min(1.0, accuracy + 0.1),
        "best_val_loss": 1 - accuracy,
        "peak_memory_gib": params["training.batch_size"] * (1 + depth) / 32,
        "inference_memory_gib": 0.3,
        "clips_per_s": 40.0 - depth,
        "data_wait_share": 0.02,
        "total_s": 10.0 * epoch,
    }
