"""What knowing the memory budget is worth: our searcher against plain Ray OptunaSearch + ASHA.

    python -m benchmarks.searcher [--seeds 20] [--trials 100]

Both search the same surrogate (`benchmarks/surrogate.py`: formulas, no training) through the real
classes: `TruthfulSearch` or Ray's `OptunaSearch`, and Ray's `AsyncHyperBandScheduler`. Only Tune's
loop and Ray's processes are replaced, by an event queue of 4 concurrent trials, in which a trial
that does not fit dies before its first epoch and is told as Tune tells it:

- plain: an error, which Optuna keeps as FAIL; a trial that ASHA stops is COMPLETE;
- ours: out of memory, a violated constraint; what is predicted over the budget (3 % wrong) is drawn
  again; a stopped trial is PRUNED.

The plain sweep launches a fixed number of trials. The others launch trials for as long as it did,
in compute; what is counted is how many they launch until one has the plain sweep's best accuracy.
Beside ours: TPE that reads the constraint without our model of memory, and draws at random that
are launched only where they are predicted to fit.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import slrtune.sweep  # noqa: F401  (first: it sets what Ray reads)

import optuna  # isort: skip
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from benchmarks.record import write_record
from benchmarks.surrogate import (
    GPU_GIB,
    MAX_EPOCHS,
    SurrogatePredictor,
    Truth,
    search_space,
    truth_of,
)  # fmt: skip
from slrtune.config.search_space import SearchSpace
from slrtune.config.sweep import ASHAConfig, SweepConfig
from slrtune.sweep.constraints import MemoryBudget
from slrtune.sweep.outcomes import OBJECTIVE
from slrtune.sweep.runner import make_scheduler
from slrtune.sweep.searcher import TruthfulSearch

_NUM_CONCURRENT = 4
_START_S = 2.0  # until a trial runs out of memory
# Configurations of known memory, none of which a searcher without a memory model ever has.
_NEVER = 10**9


@dataclass
class Launched:
    """A trial of a simulated sweep.

    Attributes:
        truth: of its configuration.
        best: best accuracy so far; None = ran out of memory.
    """

    truth: Truth
    best: float | None = None


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

    def num_trials_to(self, accuracy: float) -> int | None:
        """How many trials were launched when one reached ``accuracy``; None = never."""
        reached = (i for i, t in enumerate(self.trials, 1) if (t.best or 0.0) >= accuracy)
        return next(reached, None)


def simulate(
    searcher: Searcher,
    scheduler: TrialScheduler,
    params_of: Callable[[dict[str, Any]], dict[str, Any]],
    num_trials: int,
    max_launch_s: float = float("inf"),
) -> Sweep:
    """Tune's loop without processes: four trials at a time, each event told as Tune tells it."""
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
        launched[trial_id] = (SimpleNamespace(trial_id=trial_id), trial)
        scheduler.on_trial_add(None, launched[trial_id][0])
        fits = trial.truth.memory_gib <= GPU_GIB
        first_s = trial.truth.epoch_s if fits else _START_S
        heapq.heappush(queue, (now_s + first_s, next(order), trial_id, 1 if fits else 0))

    for _ in range(_NUM_CONCURRENT):
        start(0.0)
    while queue:
        now_s, _, trial_id, epoch = heapq.heappop(queue)
        stand_in, trial = launched[trial_id]
        if epoch == 0:
            sweep.compute_s += _START_S
            _tell_oom(searcher, scheduler, stand_in, trial)
            start(now_s)
            continue
        sweep.compute_s += trial.truth.epoch_s
        accuracy = max(trial.truth.accuracy(epoch), trial.best or 0.0)
        trial.best = accuracy
        result = {
            "training_iteration": epoch, "epoch": epoch, "max_epochs": MAX_EPOCHS,
            OBJECTIVE: accuracy, "peak_memory_gib": trial.truth.memory_gib,
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


def run_plain(space: SearchSpace, sweep: SweepConfig, num_trials: int) -> Sweep:
    """Ray's own searcher with its default sampler, as a user writes it."""
    sampler = optuna.samplers.TPESampler(seed=sweep.seed)
    searcher = OptunaSearch(space=space.suggest, metric=OBJECTIVE, mode="max", sampler=sampler)
    done = simulate(searcher, make_scheduler(sweep, MAX_EPOCHS), lambda config: config, num_trials)
    needed_gib = [trial.truth.memory_gib for trial in done.trials]
    done.num_suggestions = len(needed_gib)
    done.num_infeasible_of_last_20 = sum(gib > GPU_GIB for gib in needed_gib[-20:])
    return done


def run_ours(space: SearchSpace, sweep: SweepConfig, num_trials: int, max_launch_s: float) -> Sweep:
    """Our searcher under the budget of the GPU."""
    with tempfile.TemporaryDirectory() as folder:
        budget = MemoryBudget(GPU_GIB, SurrogatePredictor(space))
        searcher = TruthfulSearch(space, sweep, Path(folder), budget)
        scheduler = make_scheduler(sweep, MAX_EPOCHS)
        done = simulate(
            searcher, scheduler, lambda config: config["params"], num_trials, max_launch_s
        )
        searcher.close_open_trials()
        outcomes = [trial.user_attrs["outcome"] for trial in searcher.study.get_trials()]
    done.num_suggestions = len(outcomes)
    last = outcomes[-20:]
    done.num_infeasible_of_last_20 = last.count("infeasible") + last.count("oom")
    return done


def compare(num_seeds: int, num_trials: int) -> dict[str, list[Sweep]]:
    """All sweeps by contender, in the order of their seeds."""
    space = search_space()
    names = ("plain", "ours", "tpe_constraint", "random_in_budget")
    sweeps: dict[str, list[Sweep]] = {name: [] for name in names}
    for seed in range(num_seeds):
        config = SweepConfig(seed=seed, asha=ASHAConfig(grace_epochs=3, reduction_factor=3))
        started_s = time.perf_counter()
        plain = run_plain(space, config, num_trials)
        sweeps["plain"].append(plain)
        sweeps["ours"].append(run_ours(space, config, num_trials, plain.last_launch_s))
        with mock.patch("slrtune.sweep.sampler._MIN_KNOWN", _NEVER):
            without_model = run_ours(space, config, num_trials, plain.last_launch_s)
        sweeps["tpe_constraint"].append(without_model)
        at_random = config.model_copy(update={"sampler": "random"})
        sweeps["random_in_budget"].append(
            run_ours(space, at_random, num_trials, plain.last_launch_s)
        )
        print(f"seed {seed}: {time.perf_counter() - started_s:.0f} s", flush=True)
    return sweeps


def figures_of(sweeps: Sequence[Sweep], plain: Sequence[Sweep]) -> dict[str, Any]:
    """Medians over the seeds."""
    pairs = list(zip(sweeps, plain, strict=True))
    reached = [mine.num_trials_to(theirs.best) for mine, theirs in pairs]
    # A sweep that never gets there counts as one that needs more than all of its trials.
    counted = [
        r if r is not None else len(s.trials) + 1 for r, s in zip(reached, sweeps, strict=True)
    ]
    shares = [count / len(theirs.trials) for count, (_, theirs) in zip(counted, pairs, strict=True)]
    compute = [mine.compute_s / theirs.compute_s for mine, theirs in pairs]
    return {
        "best_accuracy": round(statistics.median(s.best for s in sweeps), 4),
        "launched_trials": statistics.median(len(s.trials) for s in sweeps),
        "out_of_memory_trials": statistics.median(s.num_oom for s in sweeps),
        "suggestions": statistics.median(s.num_suggestions for s in sweeps),
        "infeasible_of_last_20": statistics.median(s.num_infeasible_of_last_20 for s in sweeps),
        "compute_of_plain": round(statistics.median(compute), 3),
        "trials_to_best_of_plain": statistics.median(counted),
        "share_of_plain_trials": round(statistics.median(shares), 3),
        "seeds_within_half": sum(share <= 0.5 for share in shares),
        "seeds_reached": sum(r is not None for r in reached),
        "by_seed": [{"best": round(s.best, 4), "trials_to_best_of_plain": r}
                    for s, r in zip(sweeps, reached, strict=True)],
    }  # fmt: skip


def main() -> None:
    """Run all seeds, print a table, write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--trials", type=int, default=100, help="of each plain sweep")
    arguments = parser.parse_args()
    sweeps = compare(arguments.seeds, arguments.trials)
    figures = {name: figures_of(runs, sweeps["plain"]) for name, runs in sweeps.items()}
    settings = {
        "seeds": arguments.seeds, "trials": arguments.trials, "gpu_gib": GPU_GIB,
        "max_epochs": MAX_EPOCHS, "concurrent": _NUM_CONCURRENT,
        "objective": "surrogate, see benchmarks/surrogate.py",
    }  # fmt: skip
    path = write_record("searcher", {"settings": settings, **figures})
    shown = [name for name in figures["plain"] if name != "by_seed"]
    print(f"Medians over {arguments.seeds} seeds".ljust(30) + "".join(f"{n:>17}" for n in figures))
    for name in shown:
        print(f"{name:<30}" + "".join(f"{run[name]:>17}" for run in figures.values()))
    print(f"({path.name})")


if __name__ == "__main__":
    main()
