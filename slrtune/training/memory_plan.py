"""What was decided about a trial's memory before it starts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from slrtune.config.experiment import Experiment
from slrtune.training.construction import OutputSizes


@dataclass(frozen=True)
class MemoryPlan:
    """How one trial uses its device. The default plan decides nothing.

    Attributes:
        micro_batch_size: what ``training.micro_batch_size: auto`` means here.
        predicted_gib: predicted ``peak_memory_gib``.
        limit_gib: tensors of a worker may take this much: an OutOfMemoryError is raised beyond.
    """

    micro_batch_size: int | None = None
    predicted_gib: float | None = None
    limit_gib: float | None = None

    @property
    def metrics(self) -> dict[str, float]:
        """To report beside ``peak_memory_gib``."""
        known = {
            "predicted_memory_gib": self.predicted_gib,
            "micro_batch_size": self.micro_batch_size,
        }
        return {name: value for name, value in known.items() if value is not None}


PlanMemory = Callable[[Experiment, OutputSizes], MemoryPlan]
"""Called on every rank with the experiment and what its data ask of the model; the same plan on
all."""


def plan_nothing(experiment: Experiment, sizes: OutputSizes) -> MemoryPlan:
    """The default plan: no budget, no prediction."""
    return MemoryPlan()
