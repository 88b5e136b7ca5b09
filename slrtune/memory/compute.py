"""How much arithmetic a configuration takes, counted on tensors without data.

Shapes: B batch, T frames, C channels, H W pixels.
"""

from __future__ import annotations

import torch
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from slrtune.config.experiment import Experiment
from slrtune.data.loader import ClipBatch
from slrtune.training.construction import OutputSizes, build_model
from slrtune.training.lesson import task_without_data

_COUNTED_CLIPS = 2  # BatchNorm refuses a single value per channel


def training_tflops_per_clip(experiment: Experiment, sizes: OutputSizes) -> float:
    """Forward and backward of one clip, recomputed activations included, in 10^12 operations.

    Counts matrix products, convolutions and attention (a multiply-add is two operations), which is
    what a step spends its time on. Nothing is computed and no memory is taken.
    """
    with torch.device("meta"):
        model = build_model(experiment, sizes, is_pretrained=False)
        task = task_without_data(experiment, sizes)
        size = experiment.data.image_size
        frames = torch.empty(_COUNTED_CLIPS, experiment.data.num_frames, 3, size, size)
        ids = torch.arange(_COUNTED_CLIPS, device="cpu")
        clips = ClipBatch(frames, ids, ids)
        with FlopCounterMode(display=False) as counter:
            outputs = model(
                *task.inputs(frames, task.targets(clips, experiment.training.max_epochs - 1))
            )
            results = [leaf for leaf in tree_leaves(outputs) if leaf is not None]
            sum(result.sum() for result in results if result.requires_grad).backward()
    return float(counter.get_total_flops()) / _COUNTED_CLIPS / 1e12
