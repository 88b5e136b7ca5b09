"""How much arithmetic a configuration takes, counted on tensors without data.

Shapes: B batch, T frames, C channels, H W pixels.
"""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from slrtune.config.experiment import Experiment
from slrtune.models import create_model

_COUNTED_CLIPS = 2  # BatchNorm refuses a single value per channel


def training_tflops_per_clip(experiment: Experiment, num_classes: int) -> float:
    """Forward and backward of one clip, recomputed activations included, in 10^12 operations.

    Counts matrix products, convolutions and attention (a multiply-add is two operations), which is
    what a step spends its time on. Nothing is computed and no memory is taken.
    """
    with torch.device("meta"):
        section = {**experiment.model.section.model_dump(), "pretrained": False}
        model = create_model(
            experiment.model.name,
            num_classes=num_classes,
            num_frames=experiment.data.num_frames,
            image_size=experiment.data.image_size,
            **section,
        )
        size = experiment.data.image_size
        frames = torch.empty(_COUNTED_CLIPS, experiment.data.num_frames, 3, size, size)
        with FlopCounterMode(display=False) as counter:
            model(frames).sum().backward()
    return float(counter.get_total_flops()) / _COUNTED_CLIPS / 1e12
