"""What knowing the memory budget is worth: our searcher against plain Ray OptunaSearch + ASHA.

    python -m benchmarks.searcher [--seeds 20] [--trials 64 100]

Both search the same surrogate (`benchmarks/surrogate.py`: formulas, no training) through the real
classes: `TruthfulSearch` or Ray's `OptunaSearch`, and Ray's `AsyncHyperBandScheduler`. Only Tune's
loop and Ray's processes are replaced, by an event queue of 4 concurrent trials, in which a trial
that does not fit dies before its first epoch and is told as Tune tells it:

- plain: an error, which Optuna keeps as FAIL; a trial that ASHA stops is COMPLETE;
- ours: out of memory, a violated constraint; what is predicted over the budget (3 % wrong) is drawn
  again; a stopped trial is PRUNED.

A trial occupies its share of the cluster from its start, so its start counts as compute: the
seconds are those that `benchmarks.trial_overhead` measured, plain and with warm groups.

The plain sweep launches a fixed number of trials. The others launch trials for as long as it did,
in compute; what is counted is how many they launch until one has the plain sweep's best accuracy,
within the compute of the whole plain sweep.
Beside our default: our TPE, and draws at random that are launched only where they are predicted to
fit.

The searcher's own settings were chosen on seeds 0 to 23, some twenty variants of samplers, and so
was the rule by which the others stop. Both lengths of the plain sweep are recorded, because the
comparison depends on it.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import slrtune.sweep  # noqa: F401  (first: it sets what Ray reads)

import optuna  # isort: skip
from ray.tune.search.optuna import OptunaSearch

from benchmarks.record import read_record, write_record
from benchmarks.simulated_sweep import NUM_CONCURRENT, Sweep, simulate
from benchmarks.surrogate import (
    GPU_GIB,
    MAX_EPOCHS,
    SurrogatePredictor,
    search_space,
)  # fmt: skip
from slrtune.config.search_space import SearchSpace
from slrtune.config.sweep import ASHAConfig, SweepConfig
from slrtune.sweep.constraints import MemoryBudget
from slrtune.sweep.scheduler import make_scheduler
from slrtune.sweep.searcher import TruthfulSearch


def run_plain(space: SearchSpace, sweep: SweepConfig, num_trials: int, start_s: float) -> Sweep:
    """Ray's own searcher with its default sampler, as a user writes it."""
    sampler = optuna.samplers.TPESampler(seed=sweep.seed)
    searcher = OptunaSearch(
        space=space.suggest, metric="best_val_top1", mode="max", sampler=sampler
    )
    done = simulate(
        searcher,
        make_scheduler(sweep, space.base.objective, MAX_EPOCHS),
        lambda config: config,
        num_trials,
        start_s,
    )
    needed_gib = [trial.truth.memory_gib for trial in done.trials]
    done.num_suggestions = len(needed_gib)
    done.num_infeasible_of_last_20 = sum(gib > GPU_GIB for gib in needed_gib[-20:])
    return done


def run_ours(
    space: SearchSpace,
    sweep: SweepConfig,
    num_trials: int,
    start_s: float,
    max_launch_s: float,
) -> Sweep:
    """Our searcher under the budget of the GPU."""
    with tempfile.TemporaryDirectory() as folder:
        budget = MemoryBudget(GPU_GIB, SurrogatePredictor(space))
        searcher = TruthfulSearch(space, sweep, Path(folder), budget)
        scheduler = make_scheduler(sweep, space.base.objective, MAX_EPOCHS)
        done = simulate(
            searcher, scheduler, lambda config: config["params"], num_trials, start_s, max_launch_s
        )
        searcher.close_open_trials()
        outcomes = [trial.user_attrs["outcome"] for trial in searcher.study.get_trials()]
    done.num_suggestions = len(outcomes)
    last = outcomes[-20:]
    done.num_infeasible_of_last_20 = last.count("infeasible") + last.count("oom")
    return done


def compare(
    seeds: Sequence[int], num_trials: int, start_s: Mapping[str, float]
) -> dict[str, list[Sweep]]:
    """All sweeps by contender, in the order of their seeds."""
    space = search_space()
    names = ("plain", "ours", "tpe_in_budget", "random_in_budget")
    sweeps: dict[str, list[Sweep]] = {name: [] for name in names}
    for seed in seeds:
        config = SweepConfig(seed=seed, asha=ASHAConfig(grace_epochs=3, reduction_factor=3))
        started_s = time.perf_counter()
        plain = run_plain(space, config, num_trials, start_s["plain"])
        sweeps["plain"].append(plain)
        for name, sampler in zip(names[1:], ("auto", "tpe", "random"), strict=True):
            ours = config.model_copy(update={"sampler": sampler})
            sweeps[name].append(
                run_ours(space, ours, num_trials, start_s["ours"], plain.last_launch_s)
            )
        print(f"seed {seed}: {time.perf_counter() - started_s:.0f} s", flush=True)
    return sweeps


def figures_of(sweeps: Sequence[Sweep], plain: Sequence[Sweep]) -> dict[str, Any]:
    """Medians over the seeds."""
    pairs = list(zip(sweeps, plain, strict=True))
    reached = [mine.num_trials_to(theirs.best, theirs.compute_s) for mine, theirs in pairs]
    # A sweep that never gets there has no such number, however few trials it launched.
    counted = [math.inf if found is None else found for found in reached]
    shares = [count / len(theirs.trials) for count, theirs in zip(counted, plain, strict=True)]
    compute = [mine.compute_s / theirs.compute_s for mine, theirs in pairs]
    return {
        "best_accuracy": round(statistics.median(s.best for s in sweeps), 4),
        "launched_trials": statistics.median(len(s.trials) for s in sweeps),
        "out_of_memory_trials": statistics.median(s.num_oom for s in sweeps),
        "suggestions": statistics.median(s.num_suggestions for s in sweeps),
        "infeasible_of_last_20": statistics.median(s.num_infeasible_of_last_20 for s in sweeps),
        "compute_of_plain": round(statistics.median(compute), 3),
        # null: half of the seeds or more never get there
        "trials_to_best_of_plain": _finite(statistics.median(counted)),
        "share_of_plain_trials": _finite(statistics.median(shares)),
        "seeds_within_half": sum(share <= 0.5 for share in shares),
        "seeds_reached": sum(r is not None for r in reached),
        "by_seed": [{"best": round(s.best, 4), "trials_to_best_of_plain": r}
                    for s, r in zip(sweeps, reached, strict=True)],
    }  # fmt: skip


def _finite(value: float) -> float | None:
    return round(value, 3) if math.isfinite(value) else None


def main() -> None:
    """Run all seeds, print a table, write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=200, help="0 to 23 were tuned on")
    parser.add_argument("--trials", type=int, nargs="+", default=[64, 100], help="of plain sweeps")
    arguments = parser.parse_args()
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    overhead = read_record("trial_overhead")
    start_s = {"plain": overhead["plain_median_s"], "ours": overhead["warm_median_s"]}
    record: dict[str, Any] = {
        "settings": {
            "seeds": list(seeds), "gpu_gib": GPU_GIB, "max_epochs": MAX_EPOCHS,
            "concurrent": NUM_CONCURRENT, "trial_start_s": start_s,
            "objective": "surrogate, see benchmarks/surrogate.py",
        }
    }  # fmt: skip
    for num_trials in arguments.trials:
        sweeps = compare(seeds, num_trials, start_s)
        figures = {name: figures_of(runs, sweeps["plain"]) for name, runs in sweeps.items()}
        record[f"{num_trials}_trials"] = figures
        _print_table(f"{num_trials} plain trials, medians", figures)
    print(f"({write_record('searcher', record).name})")


def _print_table(title: str, figures: dict[str, dict[str, Any]]) -> None:
    print(title.ljust(30) + "".join(f"{name:>17}" for name in figures))
    for name in figures["plain"]:
        if name != "by_seed":
            print(f"{name:<30}" + "".join(f"{run[name]!s:>17}" for run in figures.values()))


if __name__ == "__main__":
    main()
