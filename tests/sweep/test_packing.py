"""The share of a GPU that workers ask for, with a predictor whose answers are known."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from slrtune.config.experiment import Experiment
from slrtune.config.search_space import Parameter, SearchSpace
from slrtune.sweep.constraints import MemoryBudget
from slrtune.sweep.packing import packed


@dataclass(frozen=True)
class Known:
    """A prediction of a known size."""

    train_peak_gib: float
    inference_peak_gib: float = 0.5


class GibPerBlock:
    """One GiB per block of the model."""

    def predict(self, experiment: Experiment) -> Known:
        return Known(float(experiment.model.section.depth))


@pytest.mark.parametrize(
    ("budget_gib", "gpu_gib", "share"),
    [(24.0, 24.0, 1 / 4), (24.0, 11.0, 1.0), (3.0, 24.0, 1 / 8), (0.5, 24.0, None)],
)
def test_the_largest_configuration_that_fits_decides_the_share(
    budget_gib: float, gpu_gib: float, share: float | None
) -> None:
    depth = Parameter("model.cnn_transformer.depth", low=1, high=6)
    space = SearchSpace("depths", Experiment(), (depth,))
    budget = MemoryBudget(budget_gib, GibPerBlock())
    assert packed(space, budget, gpu_gib).base.resources.gpus_per_worker == share
