"""Memory of one trial, from its worker's side: plan before, learn after."""

from __future__ import annotations

import logging

import torch

from slrtune.config.errors import UserError
from slrtune.config.experiment import Experiment
from slrtune.memory.calibration import Calibration
from slrtune.memory.devices import this_device
from slrtune.memory.micro_batch import (
    MemoryBudgetError,
    choose_micro_batch,
    gpu_share,
    with_micro_batch,
)
from slrtune.memory.predictor import MemoryPredictor
from slrtune.training import distributed
from slrtune.training.construction import OutputSizes
from slrtune.training.memory_plan import MemoryPlan

_BYTES_PER_GIB = 2**30
_logger = logging.getLogger(__name__)


class TrialMemory:
    """Plans a trial's memory (it is a ``PlanMemory``), and calibrates by what was measured."""

    def __init__(self) -> None:
        self._uncalibrated_gib: float | None = None
        self._calibration: Calibration | None = None

    def __call__(self, experiment: Experiment, sizes: OutputSizes) -> MemoryPlan:
        """The plan of the trial that the calling worker is about to train.

        Raises:
            MemoryBudgetError: ``micro_batch_size: auto``, and not even one clip fits.
        """
        budget_gib = _worker_budget_gib(experiment)
        if budget_gib is not None:  # the smallest GPU of the trial decides
            device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
            budget_gib = -distributed.max_over_ranks(-budget_gib, device)
        plan = distributed.from_rank_zero(self._plan_or_error, experiment, sizes, budget_gib)
        if isinstance(plan, MemoryPlan):
            return plan
        raise MemoryBudgetError(*plan)  # on every rank: whichever is heard first, it is this error

    def _plan_or_error(
        self, experiment: Experiment, sizes: OutputSizes, budget_gib: float | None
    ) -> MemoryPlan | tuple[str, float, float]:
        try:
            return self._plan(experiment, sizes, budget_gib)
        except MemoryBudgetError as error:
            return str(error), error.predicted_gib, error.budget_gib

    def _plan(
        self, experiment: Experiment, sizes: OutputSizes, budget_gib: float | None
    ) -> MemoryPlan:
        device = this_device()
        predictor = MemoryPredictor(device, sizes, distributed.world_size())
        limit_gib = None if budget_gib is None else budget_gib - device.context_gib
        try:
            size = None
            if experiment.training.micro_batch_size == "auto":
                size = choose_micro_batch(
                    experiment, float("inf") if budget_gib is None else budget_gib, predictor
                )
                experiment = with_micro_batch(experiment, size)
            predicted_gib = predictor.train_allocated_gib(experiment)
            self._uncalibrated_gib = predictor.uncalibrated_gib(experiment)
            self._calibration = Calibration(experiment.data.cache_dir, device.name)
        except UserError:
            raise
        except Exception:
            if experiment.training.micro_batch_size == "auto":
                raise
            # what PyTorch cannot trace without data can still be trained
            _logger.warning("the trial's memory cannot be predicted", exc_info=True)
            return MemoryPlan(limit_gib=limit_gib)
        return MemoryPlan(size, predicted_gib, limit_gib)

    def learn(self, measured_gib: float) -> None:
        """Remember, on rank 0, what the finished trial took."""
        if self._uncalibrated_gib is not None and self._calibration is not None:
            self._calibration.add(self._uncalibrated_gib, measured_gib)


def _worker_budget_gib(experiment: Experiment) -> float | None:
    """What this worker may take of its device, CUDA context included; None for no limit."""
    budget = experiment.resources.memory_budget_gib
    if budget is None or not torch.cuda.is_available():
        return None if budget == "auto" else budget
    free, total = torch.cuda.mem_get_info()
    # what this process holds already is its own
    ours = torch.cuda.memory_reserved() / _BYTES_PER_GIB + this_device().context_gib
    share_gib = gpu_share(experiment) * total / _BYTES_PER_GIB
    available_gib = min(free / _BYTES_PER_GIB + ours, share_gib)
    return available_gib if budget == "auto" else min(budget, available_gib)
