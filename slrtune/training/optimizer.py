"""AdamW with parameter groups, and the learning rate of each optimizer step."""

from __future__ import annotations

import math

from torch import Tensor
from torch.optim import AdamW, Optimizer

from slrtune.config.training import TrainingConfig
from slrtune.models.registry import VideoModel


def build_optimizer(model: VideoModel, config: TrainingConfig) -> AdamW:
    """AdamW (Loshchilov & Hutter 2019) with up to four groups: encoder or head, decayed or not.

    Vectors (biases, norms) and the names the model gives are not decayed. Each group carries its
    ``peak_learning_rate``; :func:`set_learning_rates` gives it the current one.

    Args:
        model: frozen parameters are left out.
        config: learning rates and weight decay.
    """
    peaks = {
        "encoder": config.encoder_learning_rate or config.learning_rate,
        "head": config.learning_rate,
    }
    spared = model.no_weight_decay_names()
    groups: dict[tuple[str, bool], list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            part = "encoder" if name.startswith(model.encoder_prefixes) else "head"
            is_decayed = parameter.ndim > 1 and name not in spared
            groups.setdefault((part, is_decayed), []).append(parameter)
    return AdamW(
        [
            {
                "name": part if is_decayed else f"{part}_no_decay",
                "params": parameters,
                "lr": peaks[part],
                "peak_learning_rate": peaks[part],
                "weight_decay": config.weight_decay if is_decayed else 0.0,
            }
            for (part, is_decayed), parameters in groups.items()
        ],
        # one kernel for all tensors; unlike foreach it needs no temporaries as large as the model
        fused=True,
    )


def learning_rate_ratio(
    step: int, *, num_warmup_steps: int, num_steps: int, min_ratio: float
) -> float:
    """Learning rate of an optimizer step over its peak: linear warmup, then half a cosine.

    (Loshchilov & Hutter 2017, SGDR, eq. 5 without restarts.) The last warmup step runs at the
    peak, the last step of all at ``min_ratio``.

    Args:
        step: 0-based optimizer step.
        num_warmup_steps: steps that rise linearly; the first one is not 0.
        num_steps: steps of the whole trial.
        min_ratio: last over peak.
    """
    if step < num_warmup_steps:
        return (step + 1) / num_warmup_steps
    peak_step = max(num_warmup_steps, 1) - 1
    progress = (step - peak_step) / max(num_steps - 1 - peak_step, 1)
    return min_ratio + (1.0 - min_ratio) * 0.5 * (1.0 + math.cos(math.pi * min(progress, 1.0)))


def set_learning_rates(optimizer: Optimizer, ratio: float) -> None:
    """Give every group ``ratio`` of its peak learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = ratio * group["peak_learning_rate"]
