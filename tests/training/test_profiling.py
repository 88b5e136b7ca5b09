from __future__ import annotations

import gzip
import json
from pathlib import Path

import torch

from slrtune.training.checkpoint import read_checkpoint
from slrtune.training.profiling import TABLE_FILE, TRACE_FILE, StepProfiler
from slrtune.training.trial import train_trial
from tests.training.test_trial import experiment
from tests.training.toys import CPU, Reports


def test_a_profiled_trial_writes_a_trace_and_trains_the_same_weights(tmp_path: Path, data):
    settings = experiment(data)  # 2 epochs of 3 steps
    train_trial(settings, tmp_path / "plain", Reports())
    train_trial(settings, tmp_path / "profiled", Reports(stop_epoch=1), use_profiler=True)
    assert (tmp_path / "profiled" / TRACE_FILE).exists()
    train_trial(settings, tmp_path / "profiled", Reports())  # goes on without: no setting
    plain, profiled = (
        read_checkpoint(tmp_path / name / "checkpoints" / "last.pt")["model"]
        for name in ("plain", "profiled")
    )
    assert all(torch.equal(plain[name], profiled[name]) for name in plain)


def test_the_trace_holds_three_steps_and_the_table_the_operators(tmp_path: Path):
    (tmp_path / TABLE_FILE).write_text("of an earlier start")
    with StepProfiler(tmp_path, CPU) as profiler:
        assert not (tmp_path / TABLE_FILE).exists()
        for _ in range(7):
            torch.ones(8, 8) @ torch.ones(8, 8)
            profiler.step()
    with gzip.open(tmp_path / TRACE_FILE, "rt") as file:
        events = json.load(file)["traceEvents"]
    assert sum(event.get("name") == "aten::mm" for event in events) == 3
    assert sum(event.get("name", "").startswith("ProfilerStep#") for event in events) == 3
    assert "aten::mm" in (tmp_path / TABLE_FILE).read_text()


def test_what_a_short_trial_had_time_for_is_written(tmp_path: Path):
    for num_steps, is_written in ((1, False), (3, True)):
        folder = tmp_path / str(num_steps)
        with StepProfiler(folder, CPU) as profiler:
            for _ in range(num_steps):
                torch.ones(8, 8) @ torch.ones(8, 8)
                profiler.step()
        assert (folder / TRACE_FILE).exists() is is_written
