"""Seconds until a sweep of 500 trials goes on: from the command to the next trial's start.

    python -m benchmarks.resume_large [--trials 500]

The folder is written by the code that writes it in a sweep (study, TensorBoard runs, plan), with
trials that did not train. Then two real commands: `--resume`, which finds it finished and prints
the leaderboard, and `--resume --extend 1`, which trains one trial more.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from benchmarks.record import write_record
from benchmarks.resume_storm import write_files
from slrtune.cluster.resources import TrialShare
from slrtune.config.overrides import read_overrides
from slrtune.config.search_space import SearchSpace
from slrtune.config.search_space_file import load_search_space
from slrtune.sweep.board import TrialRow
from slrtune.sweep.folder import TENSORBOARD_FOLDER, trial_folder
from slrtune.sweep.plan import SweepPlan, write_plan
from slrtune.sweep.searcher import TruthfulSearch
from slrtune.sweep.tensorboard import TensorBoardWatcher
from tests.cli_process import SlrtuneProcess

_NUM_EPOCHS = 6


def write_sweep(space: SearchSpace, folder: Path) -> None:
    """A finished sweep, as if all its trials had trained."""
    base = space.base
    folder.mkdir(parents=True)
    write_plan(SweepPlan(space, folder, TrialShare(1, 1.0, 0.0, 1)))
    # Of random draws: to propose well is not what is measured, and takes a second each.
    by_chance = base.sweep.model_copy(update={"sampler": "random"})
    search = TruthfulSearch(space, by_chance, folder)
    with TensorBoardWatcher(folder / TENSORBOARD_FOLDER, space) as tensorboard:
        for number in range(base.sweep.max_trials):
            config = search.suggest("it")
            assert isinstance(config, dict)
            row = TrialRow(number, config["params"], base.objective, "running")
            tensorboard.on_start(row)
            for epoch in range(1, _NUM_EPOCHS + 1):
                value = (number * 37 % 500 + epoch) / 600
                row.metrics = {
                    "epoch": epoch, "max_epochs": _NUM_EPOCHS, "best_val_top1": value,
                    "val_top1": value, "best_val_loss": 1.0, "peak_memory_gib": 1.0,
                    "total_s": float(epoch),
                }  # fmt: skip
                search.on_trial_result("it", row.metrics)
                tensorboard.on_epoch(row)
            search.on_trial_complete("it", row.metrics)
            row.state = "completed"
            tensorboard.on_end(row)
            checkpoints = trial_folder(folder, number) / "checkpoints"
            checkpoints.mkdir(parents=True)
            (checkpoints / "best.pt").write_bytes(b"weights")


def seconds_until(arguments: list[str], root: Path, wanted: str) -> tuple[float, float]:
    """Seconds until a command prints ``wanted``, and until it has ended."""
    started_s = time.monotonic()
    command = SlrtuneProcess(arguments, root)
    while wanted not in command.output:
        if command.process.poll() is not None and wanted not in command.output:
            raise RuntimeError(f"it ended without {wanted!r}:\n{command.output}")
        time.sleep(0.05)
    seen_s = time.monotonic() - started_s
    if command.wait(300):
        raise RuntimeError(command.output)
    return round(seen_s, 1), round(time.monotonic() - started_s, 1)


def main() -> None:
    """Write the sweep, time both commands, write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=500)
    num_trials = parser.parse_args().trials
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        write_files(root, _NUM_EPOCHS)
        settings = [f"runs_dir={root / 'runs'}", f"sweep.max_trials={num_trials}"]
        space = load_search_space(root / "space.yaml", None, read_overrides(settings))
        started_s = time.monotonic()
        folder = root / "runs" / "large"
        write_sweep(space, folder)
        written_s = time.monotonic() - started_s
        print(f"{num_trials} trials written in {written_s:.1f} s", flush=True)
        journal_mib = (folder / "study.log").stat().st_size / 2**20
        small = seconds_until(["--help"], root, "Usage")[1]
        finished = seconds_until(["sweep", "--resume", "large"], root, "Best: trial")
        more = ["sweep", "--resume", "large", "--extend", "1"]
        extended = seconds_until(more, root, f"trial {num_trials} starts")
    figures = {
        "num_trials": num_trials,
        "journal_mib": round(journal_mib, 1),
        "help_s": small,
        "finished_printed_s": finished[0],
        "next_trial_starts_s": extended[0],
        "extended_ended_s": extended[1],
    }
    path = write_record("resume_large", figures)
    print(f"`slrtune --help`               {small:>6.1f} s")
    print(f"finished: leaderboard printed  {finished[0]:>6.1f} s")
    print(f"--extend 1: next trial starts  {extended[0]:>6.1f} s")
    print(f"--extend 1: it has ended       {extended[1]:>6.1f} s   ({path.name})")


if __name__ == "__main__":
    main()
