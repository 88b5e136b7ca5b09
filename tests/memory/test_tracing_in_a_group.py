"""A prediction inside a trial of several workers, where only rank 0 makes it."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from slrtune.config.experiment import Experiment
from slrtune.memory import TrialMemory
from slrtune.training import distributed
from tests.memory.tiny import SIZES, tiny


def _plan(rank: int, folder: Path, experiment: Experiment) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/group", rank=rank, world_size=2)
    plan = TrialMemory()(experiment, SIZES)
    (folder / f"{rank}.txt").write_text(f"{plan.predicted_gib} {distributed.world_size()}")
    dist.destroy_process_group()


def test_two_workers_agree_on_what_rank_zero_predicts(tmp_path: Path) -> None:
    mp.spawn(_plan, (tmp_path, tiny("cnn", tmp_path)), nprocs=2)
    told = [(tmp_path / f"{rank}.txt").read_text().split() for rank in range(2)]
    assert told[0] == told[1]
    predicted_gib, world_size = told[0]
    assert float(predicted_gib) > 0
    assert world_size == "2"
