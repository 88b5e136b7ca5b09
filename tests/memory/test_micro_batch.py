from __future__ import annotations

from pathlib import Path

import pytest

from slrtune.memory import (
    MemoryBudgetError,
    MemoryPredictor,
    choose_micro_batch,
    fraction_of_gpu,
)
from slrtune.memory.micro_batch import with_micro_batch
from tests.memory.tiny import SIZES, tiny


def peak(predictor: MemoryPredictor, experiment, size: int) -> float:
    return predictor.train_peak_gib(with_micro_batch(experiment, size))


def test_the_largest_micro_batch_that_fits_is_chosen(tmp_path: Path):
    experiment = tiny("cnn", tmp_path, training={"batch_size": 24})
    predictor = MemoryPredictor("cpu", SIZES)
    for size, next_size in ((1, 2), (8, 12)):
        budget = (peak(predictor, experiment, size) + peak(predictor, experiment, next_size)) / 2
        assert choose_micro_batch(experiment, budget, predictor) == size
    assert choose_micro_batch(experiment, float("inf"), predictor) == 24
    of_three = MemoryPredictor("cpu", SIZES, num_workers=3)
    assert choose_micro_batch(experiment, float("inf"), of_three) == 8


def test_a_budget_too_small_for_one_clip_is_an_error_with_its_cures(tmp_path: Path):
    experiment = tiny("cnn", tmp_path, training={"precision": "float32"})
    with pytest.raises(MemoryBudgetError) as caught:
        choose_micro_batch(experiment, 0.001, MemoryPredictor("cpu", SIZES))
    message = str(caught.value)
    assert f"{caught.value.predicted_gib:.2f} GiB" in message
    for cure in ("activation_checkpointing to true", "frame_chunk_size", "data.num_frames"):
        assert cure in message
    assert caught.value.predicted_gib > caught.value.budget_gib == 0.001


def test_auto_is_predicted_for_the_micro_batch_that_it_will_mean(tmp_path: Path):
    predictor = MemoryPredictor("cpu", SIZES)
    plain = tiny("cnn", tmp_path, training={"batch_size": 16})
    budget = 1.01 * peak(predictor, plain, 4)
    auto = tiny(
        "cnn",
        tmp_path,
        training={"batch_size": 16, "micro_batch_size": "auto"},
        resources={"memory_budget_gib": budget},
    )
    predicted = predictor.predict(auto)
    assert predicted.micro_batch_size == 4
    assert predicted.train_peak_gib == peak(predictor, plain, 4) <= budget
    hopeless = tiny(
        "cnn",
        tmp_path,
        training={"batch_size": 16, "micro_batch_size": "auto"},
        resources={"memory_budget_gib": 0.001},
    )
    # a sweep asks whether it fits: the answer is what one clip takes
    assert predictor.train_peak_gib(hopeless) == peak(predictor, plain, 1)


@pytest.mark.parametrize(
    ("peak_gib", "fraction"), [(24.0, 1.0), (30.0, 1.0), (12.1, 1.0), (12.0, 0.5), (5.0, 0.25)]
)
def test_small_trials_share_a_gpu(peak_gib, fraction):
    assert fraction_of_gpu(peak_gib, 24.0) == fraction
