"""AdamW with parameter groups, and the learning rate of each optimizer step."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor
from torch.optim import AdamW, Optimizer

from slrtune.config.errors import UserError
from slrtune.config.training import TrainingConfig
from slrtune.models.registry import VideoModel

# Of a parameter group: what the configuration says, and not the state of the optimizer.
OWN_SETTINGS = ("peak_learning_rate", "weight_decay")
# where AdamW has a fused kernel
_FUSED_DEVICES = {"cpu", "cuda", "mps", "xpu"}


def build_optimizer(model: VideoModel, config: TrainingConfig) -> AdamW:
    """AdamW (Loshchilov & Hutter 2019) with groups: encoder or head, decayed or not, layer.

    Vectors (biases, norms) and the names the model gives are not decayed. Each group carries its
    ``peak_learning_rate``; :func:`set_learning_rates` gives it the current one.

    Args:
        model: parameters that do not require gradients now are left out for ever.
        config: learning rates, their decay over layers, and weight decay.

    Raises:
        UserError: layer-wise decay for a model whose encoder has no layers.
    """
    spared = model.no_weight_decay_names()
    factors = layer_factors(model, config.layer_decay)
    encoder_peak = config.encoder_learning_rate or config.learning_rate
    groups: dict[tuple[str, bool, float], list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            is_encoder = name.startswith(model.encoder_prefixes)
            peak = encoder_peak * factors[name] if is_encoder else config.learning_rate
            is_decayed = parameter.ndim > 1 and name not in spared
            part = "encoder" if is_encoder else "head"
            groups.setdefault((part, is_decayed, peak), []).append(parameter)
    device_types = {parameter.device.type for parameter in model.parameters()}
    return AdamW(
        [
            {
                "name": part if is_decayed else f"{part}_no_decay",
                "params": parameters,
                "lr": peak,
                "peak_learning_rate": peak,
                "weight_decay": config.weight_decay if is_decayed else 0.0,
            }
            for (part, is_decayed, peak), parameters in groups.items()
        ],
        # one kernel for all tensors; unlike foreach it needs no temporaries as large as the model
        fused=device_types <= _FUSED_DEVICES,
    )


def layer_factors(model: VideoModel, layer_decay: float | None) -> Mapping[str, float]:
    """Share of the encoder's learning rate for each parameter, by name; 1 without a decay.

    (BEiT, Bao et al. 2022, and MAE, He et al. 2022, appendix A): decay^(L + 1 - depth) for the
    depths 0 (embeddings) to L + 1 (what follows the last of L blocks).

    Raises:
        UserError: all parameters of the encoder have the same depth.
    """
    depths = model.layer_depths()
    if layer_decay is None:
        return dict.fromkeys(depths, 1.0)
    if len({d for name, d in depths.items() if name.startswith(model.encoder_prefixes)}) < 2:
        raise UserError(
            f"training.layer_decay must be null for {type(model).__name__}, whose encoder has no "
            "layers to tell apart; set it to null"
        )
    top = max(depths.values())
    return {name: layer_decay ** (top - depth) for name, depth in depths.items()}


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
