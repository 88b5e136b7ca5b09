"""How large a trial's checkpoints are, from its model and optimizer without any values."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from slrtune.config.experiment import Experiment
from slrtune.memory.semantics import FiniteValues
from slrtune.training.construction import OutputSizes, build_model
from slrtune.training.optimizer import build_optimizer

# AdamW keeps the gradient's first and second moment of every weight that learns.
_NUM_MOMENTS = 2


@dataclass(frozen=True)
class CheckpointSize:
    """Bytes of a trial's files, see `CheckpointStore`.

    Attributes:
        best_bytes: of ``best.pt``: the weights.
        last_bytes: of ``last.pt``: weights, optimizer and, where there is one, moving average.
    """

    best_bytes: int
    last_bytes: int


def checkpoint_size(experiment: Experiment, sizes: OutputSizes) -> CheckpointSize:
    """What a trial's checkpoints take on the disk, within the few kilobytes of their frames.

    Raises:
        UserError: the model cannot be built.
    """
    with torch.device("meta"), FiniteValues():
        model = build_model(experiment, sizes, is_pretrained=False)
    weights = sum(tensor.nbytes for tensor in model.state_dict().values())
    groups = build_optimizer(model, experiment.training).param_groups
    learnt = sum(p.nbytes for group in groups for p in group["params"] if p.requires_grad)
    average = weights if experiment.training.ema_decay else 0
    return CheckpointSize(weights, weights + _NUM_MOMENTS * learnt + average)
