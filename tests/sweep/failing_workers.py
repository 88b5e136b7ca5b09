"""Warm workers that run out of memory in the middle of an epoch, in real worker processes."""

from __future__ import annotations

import gc
import json
import os
from pathlib import Path
from typing import Any

import torch

from slrtune.cluster.worker import serve_trials
from slrtune.training import distributed
from slrtune.training.engine import Trainer
from slrtune.training.peak_memory import BudgetExceededError

# A trial of this batch size does not fit; of any other it does.
TOO_LARGE = 16
_BALLAST_BYTES = 200 * 2**20


def tensor_mib() -> float:
    """All that this process holds in tensors."""
    storages = {}
    for item in gc.get_objects():
        if isinstance(item, torch.Tensor):
            storages[item.untyped_storage().data_ptr()] = item.untyped_storage().nbytes()
    return sum(storages.values()) / 2**20


def serve_trials_with_oom(config: dict[str, Any]) -> None:
    """`serve_trials` in which the last rank of a large trial runs out of memory in epoch 2.

    Every trial notes its process and what it found there, in ``oom-trials.jsonl`` beside the runs.
    """
    forward_backward, fit = Trainer.forward_backward, Trainer.fit

    def failing(self: Trainer, *args: Any) -> Any:
        is_last_rank = distributed.rank() == distributed.world_size() - 1
        if self.config.batch_size == TOO_LARGE and len(self.history) == 1 and is_last_rank:
            ballast = torch.ones(_BALLAST_BYTES // 4)
            ballast.requires_grad_().square().sum().backward()
            raise BudgetExceededError(1.5, 1.0)
        return forward_backward(self, *args)

    def noting(self: Trainer, *arguments: Any) -> bool:
        note = {"pid": os.getpid(), "batch_size": self.config.batch_size, "mib": tensor_mib()}
        with Path(config["notes"]).open("a") as notes:
            notes.write(json.dumps(note) + "\n")
        return fit(self, *arguments)

    Trainer.forward_backward, Trainer.fit = failing, noting  # type: ignore[method-assign]
    try:
        serve_trials(config)
    finally:
        Trainer.forward_backward, Trainer.fit = forward_backward, fit  # type: ignore[method-assign]
