"""The largest micro-batch that fits a memory budget."""

from __future__ import annotations

import bisect
from collections.abc import Callable
from typing import TYPE_CHECKING

from slrtune.config.errors import UserError
from slrtune.config.experiment import Experiment
from slrtune.memory.devices import DeviceType

if TYPE_CHECKING:
    from slrtune.memory.predictor import MemoryPredictor


class MemoryBudgetError(UserError):
    """An experiment that does not fit its memory budget whatever its micro-batch.

    Attributes:
        predicted_gib: with a micro-batch of one clip.
        budget_gib: what there is.
    """

    def __init__(self, message: str, predicted_gib: float, budget_gib: float) -> None:
        super().__init__(message)
        self.predicted_gib, self.budget_gib = predicted_gib, budget_gib


def choose_micro_batch(
    experiment: Experiment, budget_gib: float, predictor: MemoryPredictor
) -> int:
    """The largest micro-batch that divides a worker's share of the batch and fits the budget.

    Args:
        experiment: its own ``micro_batch_size`` is not looked at.
        budget_gib: of one worker; infinite for no limit.
        predictor: for the device and the number of workers that will train.

    Raises:
        MemoryBudgetError: not even one clip at a time fits.
    """
    size = largest_micro_batch(
        experiment, budget_gib, predictor.train_peak_gib, predictor.num_workers
    )
    if size is not None:
        return size
    one = predictor.train_peak_gib(with_micro_batch(experiment, 1))
    raise MemoryBudgetError(
        f"resources.memory_budget_gib must hold a micro-batch of one clip, but that is predicted "
        f"to take {one:.2f} GiB on {predictor.device.name} and there are {budget_gib:.2f} GiB; "
        f"{_cures(experiment)}",
        one,
        budget_gib,
    )


def _cures(experiment: Experiment) -> str:
    """Settings that lower the memory of one clip, strongest first."""
    name, section = experiment.model.name, experiment.model.section.model_dump()
    cures = []
    if section.get("activation_checkpointing") is False:
        cures.append(f"set model.{name}.activation_checkpointing to true")
    if "frame_chunk_size" in section and section["frame_chunk_size"] is None:
        cures.append(f"set model.{name}.frame_chunk_size")
    if experiment.training.precision == "float32":
        cures.append("set training.precision to auto")
    cures.append("lower data.num_frames, data.image_size or the size of the model")
    return ", ".join(cures)


def largest_micro_batch(
    experiment: Experiment,
    budget_gib: float,
    peak_gib: Callable[[Experiment], float],
    num_workers: int,
) -> int | None:
    """As :func:`choose_micro_batch`, but None where nothing fits."""
    share = max(experiment.training.batch_size // num_workers, 1)
    if budget_gib == float("inf"):
        return share
    sizes = [size for size in range(1, share + 1) if share % size == 0]
    # a larger micro-batch never needs less, so halving finds the first that is too large
    num_fitting = bisect.bisect_right(
        sizes, budget_gib, key=lambda size: peak_gib(with_micro_batch(experiment, size))
    )
    return sizes[num_fitting - 1] if num_fitting else None


def with_micro_batch(experiment: Experiment, size: int) -> Experiment:
    """The experiment with ``training.micro_batch_size`` set."""
    training = experiment.training.model_copy(update={"micro_batch_size": size})
    return experiment.model_copy(update={"training": training})


def clips_per_worker(experiment: Experiment, num_workers: int) -> int:
    """Clips per forward-backward on one worker; ``micro_batch_size`` is not ``auto``."""
    training = experiment.training
    if isinstance(training.micro_batch_size, int):
        return training.micro_batch_size
    return max(training.batch_size // num_workers, 1)


def budget_of(experiment: Experiment, device: DeviceType) -> float:
    """What one worker may take of an empty device, in GiB; infinite for no limit."""
    budget = experiment.resources.memory_budget_gib
    if budget is None:
        return float("inf")
    share_gib = device.total_gib * gpu_share(experiment)
    return share_gib if budget == "auto" else min(budget, share_gib)


def gpu_share(experiment: Experiment) -> float:
    """Share of one GPU's memory that a worker may use: below 1 where workers share a GPU."""
    gpus = experiment.resources.gpus_per_worker
    return min(gpus, 1.0) if gpus else 1.0


def fraction_of_gpu(peak_gib: float, total_gib: float) -> float:
    """Share of a GPU that a worker must ask for so that those beside it fit, too.

    Args:
        peak_gib: ``train_peak_gib``, margin included.
        total_gib: of the GPU.

    Returns:
        One over a whole number, as Ray packs workers: 1, 1/2, 1/3…; 1 for what does not fit.
    """
    num_beside = int(total_gib / peak_gib) if peak_gib > 0 else 1
    return 1.0 / max(num_beside, 1)
