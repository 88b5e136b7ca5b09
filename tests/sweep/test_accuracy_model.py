"""The model of accuracy that ranks what is tried next."""

from __future__ import annotations

import math
import statistics
from pathlib import Path

import pytest

from slrtune.sweep.accuracy_model import AccuracyModel, Observation
from tests.sweep.simulated import MAX_EPOCHS, SPACE, a_search, accuracy_of, run_trials

_SMALL = {"training.batch_size": 4, "model.cnn_transformer.depth": 1}


def at_rate(rate: float) -> dict[str, float]:
    return {**_SMALL, "training.learning_rate": rate}


def seen(rate: float, epoch: int) -> Observation:
    """Accuracy grows with the epoch, and falls with the distance from a rate of 1e-3."""
    quality = 0.8 - 0.2 * abs(math.log10(rate) + 3)
    return Observation(at_rate(rate), epoch, quality * (1 - math.exp(-epoch / 10)))


def test_early_epochs_of_stopped_trials_tell_which_configuration_ends_best():
    rates, last = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2), SPACE.base.training.max_epochs
    early = [seen(rate, epoch) for rate in rates for epoch in (4, last // 4)]
    model = AccuracyModel(SPACE, [*early, seen(1e-4, last), seen(3e-3, last)])
    candidates = [at_rate(rate) for rate in (1.5e-4, 9e-4, 9e-3)]
    assert model.expected(candidates).argmax() == 1
    assert model.expected_improvement(candidates, best=0.6).argmax() == 1


def test_what_runs_is_not_proposed_again():
    last = SPACE.base.training.max_epochs
    observations = [seen(rate, last) for rate in (1e-4, 1e-2, 3e-3)]
    asked = [at_rate(6e-4)]
    alone = AccuracyModel(SPACE, observations).expected_improvement(asked, 0.7)
    beside = AccuracyModel(SPACE, observations, pending=asked).expected_improvement(asked, 0.7)
    assert beside.item() < 0.5 * alone.item()


@pytest.mark.parametrize("budget_gib", [None, 4.0])
def test_after_few_trials_most_are_good(tmp_path: Path, budget_gib: float | None):
    later = {}
    for sampler in ("gp", "random"):
        search = a_search(tmp_path / sampler, budget_gib=budget_gib, sampler=sampler)
        launched = run_trials(search, 20, last_epoch=lambda _: MAX_EPOCHS)
        later[sampler] = statistics.mean(map(accuracy_of, launched[-8:]))
    assert later["gp"] > later["random"] + 0.05
