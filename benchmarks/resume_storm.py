"""Kill sweeps at random times, resume them, and compare with one that nobody disturbed.

    python -m benchmarks.resume_storm [--kills 20] [--trials 5] [--seed 0] [--isolate-trials]

Each run is a real `slrtune sweep` on real video. In turn the driver, a training worker or a whole
node of a cluster gets kill -9 at a random time of the sweep's life; a killed driver's sweep is
resumed by its name alone, and a killed node is replaced by a new one.
A run is good if it ends, if every trial has the parameters, outcome and value of every epoch of the
undisturbed sweep, and if no trial that had ended before the kill was touched again.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from optuna.trial import FrozenTrial

from benchmarks.record import write_record
from slrtune.data.synth.dataset import SynthSettings, render_dataset
from slrtune.sweep.folder import PLAN_FILE
from slrtune.sweep.study import read_study
from tests.cli_process import SlrtuneProcess
from tests.ray_cluster import RayCluster
from tests.sweep.unbroken import told

_SPACE = {
    "experiment": "experiment.yaml",
    "parameters": {
        "training.learning_rate": {"low": 1e-5, "high": 1e-2, "log": True},
        "model.cnn_transformer.depth": {"low": 1, "high": 2},
    },
}


def write_files(root: Path, num_epochs: int) -> None:
    """A tiny data set, an experiment and a search space in ``root``."""
    render_dataset(root / "videos", SynthSettings(num_signers=3, size_px=64, words=("A", "B")))
    network = {"backbone": "test_resnet", "pretrained": False, "embed_dim": 32, "num_heads": 2}
    experiment = {
        "data": {
            "source": "class_folders",
            "root": str(root / "videos"),
            "cache_dir": str(root / "cache"),
            "num_frames": 4,
            "image_size": 32,
        },
        "model": {"cnn_transformer": {**network, "depth": 1}},
        "training": {"max_epochs": num_epochs, "batch_size": 4},
        "sweep": {"max_concurrent_trials": 1, "asha": {"grace_epochs": 2, "reduction_factor": 2}},
    }
    (root / "experiment.yaml").write_text(yaml.safe_dump(experiment))
    (root / "space.yaml").write_text(yaml.safe_dump(_SPACE))


def trials_of(folder: Path) -> list[FrozenTrial]:
    """All trials of a sweep, without the journal's private state."""
    return read_study(folder).get_trials()


def run(
    root: Path, name: str, options: list[str], kill: tuple[str, float] | None
) -> dict[str, Any]:
    """One sweep, killed or not; a node can be lost only of a cluster of several."""
    if kill is None or kill[0] != "node":
        return _run(root, name, options, kill, None)
    with pytest.MonkeyPatch.context() as environment, RayCluster(0, environment) as cluster:
        cluster.add_node()
        cluster.add_node()
        return _run(root, name, options, kill, cluster)


def _run(
    root: Path,
    name: str,
    options: list[str],
    kill: tuple[str, float] | None,
    cluster: RayCluster | None,
) -> dict[str, Any]:
    """One sweep, killed or not.

    Args:
        root: with the files of `write_files`.
        name: of the sweep.
        options: of a new sweep.
        kill: who (``driver``, ``worker`` or ``node``) and how many seconds after the plan was
            written.
        cluster: to run on; None = one of the sweep's own.

    Returns:
        Figures of the run; ``ended_before`` maps a trial that had ended to the time when it did.
    """
    folder = root / "runs" / name
    where = ["--address", cluster.address] if cluster is not None else []
    arguments = ["sweep", "space.yaml", "--name", name, *options, *where]
    sweep = SlrtuneProcess(arguments, root)
    sweep.wait_for((folder / PLAN_FILE).exists)
    started_s = time.monotonic()
    figures: dict[str, Any] = {"victim": "", "at_s": None, "resumed_s": None, "ended_before": {}}
    if kill is not None:
        figures["victim"], figures["at_s"] = kill[0], round(kill[1], 1)
        while time.monotonic() - started_s < kill[1] and sweep.process.poll() is None:
            time.sleep(0.05)
        if (folder / "study.log").exists() and (folder / "study.log").stat().st_size:
            figures["ended_before"] = {
                trial.number: trial.datetime_complete
                for trial in trials_of(folder)
                if trial.state.is_finished()
            }
        _kill(kill[0], sweep, cluster)
    code = sweep.wait(400)
    figures["killed_driver"] = code == -9
    if figures["killed_driver"]:
        resumed_at_s = time.monotonic()
        sweep = SlrtuneProcess(["sweep", "--resume", name], root)
        code = sweep.wait(400)
        figures["resumed_s"] = round(time.monotonic() - resumed_at_s, 1)
    figures |= {"exit_code": code, "took_s": round(time.monotonic() - started_s, 1)}
    figures["left_behind"] = len(sweep.left_behind())
    if code:
        print(sweep.output[-3000:])
    return figures


def _kill(victim: str, sweep: SlrtuneProcess, cluster: RayCluster | None) -> None:
    if cluster is not None:
        cluster.lose_node(cluster.busy_node() or cluster.nodes[0])
        cluster.add_node()
        return
    victims = sweep.pids("RayTrainWorker") if victim == "worker" else [sweep.process.pid]
    for pid in victims:
        with suppress(ProcessLookupError):  # it has just ended
            os.kill(pid, signal.SIGKILL)


def main() -> None:
    """Run all, print a table, write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--trials", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--isolate-trials", action="store_true", help="a group for each trial")
    arguments = parser.parse_args()
    options = ["-n", f"{arguments.trials}"]
    options += ["--isolate-trials"] if arguments.isolate_trials else []
    rng = random.Random(arguments.seed)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        write_files(root, arguments.epochs)
        whole = run(root, "undisturbed", options, None)
        expected = [told(trial) for trial in trials_of(root / "runs" / "undisturbed")]
        print(f"undisturbed: {len(expected)} trials in {whole['took_s']} s", flush=True)
        for index in range(arguments.kills):
            kill = ("driver", "worker", "node")[index % 3], rng.uniform(0.0, whole["took_s"])
            figures = run(root, f"run-{index}", options, kill)
            trials = trials_of(root / "runs" / f"run-{index}")
            before = figures.pop("ended_before")
            figures["num_ended_before"] = len(before)
            figures["num_repeated"] = sum(
                trials[number].datetime_complete != ended for number, ended in before.items()
            )
            figures["is_equal"] = [told(trial) for trial in trials] == expected
            rows.append(figures)
            print(
                f"run {index:>2}: {figures['victim']:<7}killed at {figures['at_s']:>5} s, "
                f"{len(before)} trials had ended, {figures['num_repeated']} of them repeated, "
                f"exit code {figures['exit_code']}, "
                f"{'equal' if figures['is_equal'] else 'NOT EQUAL'}, {figures['took_s']} s",
                flush=True,
            )
    num_good = sum(
        row["is_equal"] and not row["num_repeated"] and not row["left_behind"]
        and row["exit_code"] == 0
        for row in rows
    )  # fmt: skip
    figures = {"num_good": num_good, "num_runs": len(rows), "undisturbed": whole, "runs": rows}
    figures["undisturbed"].pop("ended_before")
    path = write_record("resume_storm" + "_isolated" * arguments.isolate_trials, figures)
    print(f"{num_good} of {len(rows)} runs ended as the undisturbed one. ({path.name})")


if __name__ == "__main__":
    main()
