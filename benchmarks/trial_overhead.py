"""What a trial costs beyond its training: warm worker groups against the plain pattern.

    python -m benchmarks.trial_overhead [--warm-trials 500] [--plain-trials 4]

Both run the same trials (one epoch on real video) through `run_sweep` in one Ray session, one
trial at a time: first ours, then the plain pattern (a Tune function that fits a new TorchTrainer).
A trial's overhead is the wall time from the end of the trial before it to its own end, less the
seconds that its engine spent training and validating. The first trial of each pattern, which
carries the one-off start, is shown apart.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.record import write_record
from benchmarks.trial_costs import TrialCosts, by_window
from slrtune.cluster.resources import cluster_nodes, share_cluster
from slrtune.cluster.session import library_logs_to, ray_session
from slrtune.config.search_space import Parameter, SearchSpace
from slrtune.config.validate import experiment_from_dict
from slrtune.data.prepare import prepare_data
from slrtune.data.synth.dataset import SynthSettings, render_dataset
from slrtune.sweep.board import SweepBoard
from slrtune.sweep.plan import SweepPlan
from slrtune.sweep.runner import run_sweep


def measure(root: Path, num_trials: int, *, isolate_trials: bool) -> TrialCosts:
    """Run a sweep of ``num_trials``, one at a time."""
    base = experiment_from_dict(
        {
            "data": {
                "source": "class_folders",
                "root": str(root / "videos"),
                "cache_dir": str(root / "cache"),
                "num_frames": 4,
                "image_size": 32,
            },
            "model": {
                "cnn_transformer": {
                    "backbone": "test_resnet",
                    "pretrained": False,
                    "embed_dim": 32,
                    "depth": 1,
                    "num_heads": 2,
                }
            },
            "training": {"max_epochs": 1, "batch_size": 4},
            "sweep": {"max_trials": num_trials, "max_concurrent_trials": 1, "scheduler": "none"},
        },
        "benchmark",
    )
    prepare_data(base.data)
    parameter = Parameter("training.learning_rate", low=1e-4, high=1e-2, log=True)
    folder = root / ("plain" if isolate_trials else "warm")
    folder.mkdir()
    share = share_cluster(cluster_nodes(), base.resources, 1)
    plan = SweepPlan(SearchSpace("overhead", base, (parameter,)), folder, share, isolate_trials)
    watcher = TrialCosts()
    run_sweep(plan, SweepBoard("overhead", num_trials, 1, plan.space.base.objective), (watcher,))
    if len(watcher.ends) != num_trials:
        raise RuntimeError(f"{len(watcher.ends)} of {num_trials} trials ended; see {folder}")
    return watcher


def main() -> None:
    """Measure both, print a table, write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--warm-trials", type=int, default=500)
    parser.add_argument("--plain-trials", type=int, default=4)
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        settings = SynthSettings(num_signers=3, size_px=64, words=("A", "B"))
        render_dataset(root / "videos", settings)
        with ray_session(use_dashboard=True), library_logs_to(root / "log"):
            warm = measure(root, arguments.warm_trials, isolate_trials=False)
            plain_s = measure(root, arguments.plain_trials, isolate_trials=True).overheads_s()
    warm_s = warm.overheads_s()
    figures: dict[str, Any] = {
        "warm_trials": len(warm_s),
        "warm_first_s": round(warm_s[0], 2),
        "warm_median_s": round(statistics.median(warm_s[1:]), 2),
        "plain_first_s": round(plain_s[0], 2),
        "plain_median_s": round(statistics.median(plain_s[1:]), 2),
    }
    figures["warm_median_s_by_trials"] = by_window(warm_s)
    figures["warm_driver_cpu_s_by_trials"] = warm.driver_cpu_s_by_window()
    figures["warm_driver_gib_by_trials"] = by_window([end.driver_gib for end in warm.ends], 3)
    figures["ratio"] = round(figures["plain_median_s"] / figures["warm_median_s"], 1)
    path = write_record("trial_overhead", figures)
    print(f"{'pattern':<24}{'first trial':>12}{'later trials (median)':>24}")
    for pattern in ("warm", "plain"):
        first, median = figures[f"{pattern}_first_s"], figures[f"{pattern}_median_s"]
        print(f"{pattern:<24}{first:>10.2f} s{median:>22.2f} s")
    for trials, seconds in figures["warm_median_s_by_trials"].items():
        cpu_s = figures["warm_driver_cpu_s_by_trials"][trials]
        gib = figures["warm_driver_gib_by_trials"][trials]
        print(f"warm, trials {trials:<10}{seconds:>6.2f} s; driver {cpu_s:.3f} CPU-s, {gib} GiB")
    print(f"The plain pattern costs {figures['ratio']} times as much per trial. ({path.name})")


if __name__ == "__main__":
    main()
