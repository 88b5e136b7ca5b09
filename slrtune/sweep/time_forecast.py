"""How long a sweep would take, from a few timed steps and counted arithmetic."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from slrtune.config.experiment import Experiment
from slrtune.config.validate import experiment_from_dict, with_params
from slrtune.memory.compute import training_tflops_per_clip
from slrtune.memory.probe import probe
from slrtune.sweep.forecast import Draw, expected_epochs
from slrtune.training.construction import OutputSizes

_MAX_COUNTED = 12  # draws of a family whose arithmetic is counted, about a second each
_PROBE_CLIPS = {"cuda": 8, "cpu": 2}


@dataclass(frozen=True)
class FamilyTime:
    """Expected time of one model family's trials.

    Attributes:
        family: model name.
        share: of the draws within the budget, 0..1.
        train_s_per_clip: measured of one draw, waiting for data left out.
        val_s_per_clip: likewise.
        tflops_per_clip: mean over draws, forward and backward.
        trial_s: mean seconds of a trial on one worker set, with early stopping.
    """

    family: str
    share: float
    train_s_per_clip: float
    val_s_per_clip: float
    tflops_per_clip: float
    trial_s: float


@dataclass(frozen=True)
class TimeForecast:
    """Expected time of a sweep.

    Attributes:
        families: one entry for each family.
        num_trials: trials of the sweep.
        devices_per_trial: GPUs of a trial; workers where there are no GPUs.
    """

    families: Sequence[FamilyTime]
    num_trials: int
    devices_per_trial: float

    @property
    def trial_s(self) -> float:
        """Mean seconds of a trial."""
        return sum(family.share * family.trial_s for family in self.families)

    @property
    def device_hours(self) -> float:
        """Of the whole sweep."""
        return self.num_trials * self.trial_s * self.devices_per_trial / 3600


def forecast_time(
    draws: Sequence[Draw],
    sizes: OutputSizes,
    num_train_clips: int,
    num_val_clips: int,
    device: torch.device,
    on_progress: Callable[[str], None] = lambda what: None,
) -> TimeForecast:
    """Time one draw of each family on ``device``, and scale it to others by their arithmetic.

    Waiting for data is not in it, nor the second or so between trials.

    Args:
        draws: within the budget; at least one.
    """
    base = draws[0].experiment
    families = []
    for name in sorted({draw.experiment.model.name for draw in draws}):
        own = [draw for draw in draws if draw.experiment.model.name == name]
        on_progress(f"timing {name}")
        middle = sorted(own, key=lambda draw: draw.peak_gib)[len(own) // 2].experiment
        short = _short(middle, device)
        timed = probe(short, device, sizes=sizes)
        train_s = timed.step_s / short.training.batch_size
        probe_tflops = training_tflops_per_clip(middle, sizes)
        counted = own[:: max(1, len(own) // _MAX_COUNTED)][:_MAX_COUNTED]
        tflops = [training_tflops_per_clip(draw.experiment, sizes) for draw in counted]
        epoch_s = num_train_clips * train_s + num_val_clips * timed.inference_s
        # DDP shares the clips out.
        epoch_s /= base.resources.workers_per_trial
        trials_s = [
            _epochs(draw.experiment) * epoch_s * count / probe_tflops
            for draw, count in zip(counted, tflops, strict=True)
        ]
        families.append(
            FamilyTime(
                name,
                len(own) / len(draws),
                train_s,
                timed.inference_s,
                statistics.fmean(tflops),
                statistics.fmean(trials_s),
            )
        )
    gpus = base.resources.gpus_per_worker
    per_worker = 1.0 if gpus is None or device.type == "cpu" else gpus
    return TimeForecast(
        families, base.sweep.max_trials, base.resources.workers_per_trial * per_worker
    )


def _short(experiment: Experiment, device: torch.device) -> Experiment:
    """The same with few clips per step: speed per clip hardly depends on more of them."""
    clips = min(_PROBE_CLIPS[device.type], experiment.training.batch_size)
    params = {"training.batch_size": clips, "training.micro_batch_size": clips}
    one_worker = {"resources.workers_per_trial": 1}
    return experiment_from_dict(with_params(experiment, {**params, **one_worker}), "plan")


def _epochs(experiment: Experiment) -> float:
    return expected_epochs(experiment.sweep, experiment.training.max_epochs)
