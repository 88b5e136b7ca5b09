"""`slrtune train` on a real local Ray: it survives kill -9 and ends in the same weights."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from tests.cli_process import SlrtuneProcess, run_slrtune

pytestmark = pytest.mark.ray

_EPOCHS = ["--set", "training.max_epochs=9"]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(
        folder / "checkpoints" / "last.pt", weights_only=True
    )["model"]
    return state


def test_a_killed_run_resumes_to_bit_identical_weights(
    tmp_path: Path, colors_experiment: Path
) -> None:
    train = ["train", str(colors_experiment), *_EPOCHS]
    code, output = run_slrtune([*train, "--name", "unbroken"], tmp_path)
    assert code == 0, output

    killed = SlrtuneProcess([*train, "--name", "killed"], tmp_path)
    killed.wait_for(lambda: "epoch   2/9" in killed.output)
    workers = killed.pids("RayTrainWorker")
    assert workers
    for pid in workers:
        os.kill(pid, 9)
    killed.wait_for(lambda: "A new worker goes on from the last checkpoint" in killed.output)
    killed.wait_for(lambda: "epoch   5/9" in killed.output)
    killed.kill_all()  # and now the command with all that came of it
    again = SlrtuneProcess([*train, "--name", "killed"], tmp_path)
    assert again.wait() == 0, again.output
    assert "epoch   1/9" not in again.output
    assert again.left_behind() == []

    expected, found = weights(tmp_path / "runs" / "unbroken"), weights(tmp_path / "runs" / "killed")
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in expected)

    code, output = run_slrtune([*train, "--name", "unbroken"], tmp_path)
    assert code == 0
    assert "is finished" in output
    code, output = run_slrtune([*train, "--name", "unbroken", "--set", "training.seed=5"], tmp_path)
    assert code == 2
    assert "training.seed: 42 -> 5" in output


def test_two_workers_train_one_trial_together(tmp_path: Path, colors_experiment: Path) -> None:
    code, output = run_slrtune(
        ["train", str(colors_experiment), "--set", "resources.workers_per_trial=2", "--profile"],
        tmp_path,
    )
    assert code == 0, output
    assert "epoch   4/4" in output
    assert "aten::" in output and "trace.json.gz" in output
    assert (tmp_path / "runs" / "colors" / "trace.json.gz").stat().st_size > 0
