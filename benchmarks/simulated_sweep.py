"""Tune's loop without Ray's processes: real searchers and schedulers on the surrogate."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from benchmarks.surrogate import GPU_GIB, MAX_EPOCHS, Truth, truth_of
from slrtune.sweep.searcher import TruthfulSearch

NUM_CONCURRENT = 4


@dataclass
class Launched:
    """A trial of a simulated sweep.

    Attributes:
        truth: of its configuration.
        best: best accuracy so far; None = ran out of memory.
        improvements: each best accuracy, with the compute of the whole sweep by then.
    """

    truth: Truth
    best: float | None = None
    improvements: list[tuple[float, float]] = field(default_factory=list)


@dataclass
class Sweep:
    """A simulated sweep: its trials in order of their start, and its suggestions."""

    trials: list[Launched] = field(default_factory=list)
    compute_s: float = 0.0
    last_launch_s: float = 0.0
    num_suggestions: int = 0
    num_infeasible_of_last_20: int = 0

    @property
    def best(self) -> float:
        """Best accuracy of all trials."""
        return max(trial.best or 0.0 for trial in self.trials)

    @property
    def num_oom(self) -> int:
        """Trials that ran out of memory."""
        return sum(trial.best is None for trial in self.trials)

    def num_trials_to(self, accuracy: float, within_s: float) -> int | None:
        """Which trial, counted from 1, was first in order to reach ``accuracy``; None = none did.

        Args:
            accuracy: to reach.
            within_s: compute of the whole sweep: what came later does not count.
        """
        for index, trial in enumerate(self.trials, 1):
            if any(best >= accuracy and at_s <= within_s for best, at_s in trial.improvements):
                return index
        return None


def simulate(
    searcher: Searcher,
    scheduler: TrialScheduler,
    params_of: Callable[[dict[str, Any]], dict[str, Any]],
    num_trials: int,
    start_s: float,
    max_launch_s: float = float("inf"),
) -> Sweep:
    """Tune's loop without processes: four trials at a time, each event told as Tune tells it.

    Args:
        start_s: compute that a trial costs before its first epoch, also where it then runs out of
            memory.
        max_launch_s: compute after which no trial is launched.
    """
    sweep = Sweep()
    queue: list[tuple[float, int, str, int]] = []  # time, order, trial, epoch
    order = itertools.count()
    launched: dict[str, tuple[Any, Launched]] = {}

    def start(now_s: float) -> None:
        if len(sweep.trials) >= num_trials or sweep.compute_s >= max_launch_s:
            return
        trial_id = f"{len(sweep.trials):05d}"
        config = searcher.suggest(trial_id)
        while config is None:
            config = searcher.suggest(trial_id)
        assert isinstance(config, dict)
        trial = Launched(truth_of(params_of(config)))
        sweep.trials.append(trial)
        sweep.last_launch_s = sweep.compute_s
        sweep.compute_s += start_s
        stand_in = SimpleNamespace(trial_id=trial_id, config={"number": len(sweep.trials)})
        launched[trial_id] = (stand_in, trial)
        scheduler.on_trial_add(None, stand_in)
        fits = trial.truth.memory_gib <= GPU_GIB
        first_s = trial.truth.epoch_s if fits else 0.0
        heapq.heappush(queue, (now_s + start_s + first_s, next(order), trial_id, 1 if fits else 0))

    for _ in range(NUM_CONCURRENT):
        start(0.0)
    while queue:
        now_s, _, trial_id, epoch = heapq.heappop(queue)
        stand_in, trial = launched[trial_id]
        if epoch == 0:
            _tell_oom(searcher, scheduler, stand_in, trial)
            start(now_s)
            continue
        sweep.compute_s += trial.truth.epoch_s
        accuracy = max(trial.truth.accuracy(epoch), trial.best or 0.0)
        if accuracy > (trial.best or 0.0):
            trial.improvements.append((accuracy, sweep.compute_s))
        trial.best = accuracy
        result = {
            "training_iteration": epoch, "epoch": epoch, "max_epochs": MAX_EPOCHS,
            "best_val_top1": accuracy, "peak_memory_gib": trial.truth.memory_gib,
        }  # fmt: skip
        is_last = epoch == MAX_EPOCHS
        decision = scheduler.on_trial_result(None, stand_in, result)
        if is_last or decision == TrialScheduler.STOP:
            scheduler.on_trial_complete(None, stand_in, result)
            searcher.on_trial_complete(trial_id, result)
            start(now_s)
        else:
            searcher.on_trial_result(trial_id, result)
            after_s = now_s + trial.truth.epoch_s
            heapq.heappush(queue, (after_s, next(order), trial_id, epoch + 1))
    return sweep


def _tell_oom(
    searcher: Searcher, scheduler: TrialScheduler, stand_in: Any, trial: Launched
) -> None:
    if isinstance(searcher, TruthfulSearch):
        # The worker catches it and reports what was in use.
        result = {"outcome": "oom", "max_epochs": MAX_EPOCHS, "peak_memory_gib": GPU_GIB}
        scheduler.on_trial_complete(None, stand_in, result)
        searcher.on_trial_complete(stand_in.trial_id, result)
    else:
        scheduler.on_trial_error(None, stand_in)
        searcher.on_trial_complete(stand_in.trial_id, error=True)
