"""The traced step follows the recipe: averages, frozen encoders, cached features, mixing."""

from __future__ import annotations

from typing import Any

import pytest

from slrtune.config.experiment import Experiment
from slrtune.memory.devices import CPU
from slrtune.memory.tracing import FakeTrial
from slrtune.training.construction import OutputSizes


def traced(**training: Any) -> FakeTrial:
    tiny = {"backbone": "test_resnet", "pretrained": False, "embed_dim": 16, "depth": 1}
    experiment = Experiment.model_validate(
        {
            "data": {"num_frames": 2, "image_size": 32},
            "model": {"cnn_transformer": {**tiny, "num_heads": 2}},
            "training": {"max_epochs": 4, "batch_size": 2, **training},
        }
    )
    trial = FakeTrial(experiment, CPU, OutputSizes(3), num_workers=1)
    trial.trace_step(2, is_accumulating=True)
    return trial


def test_an_average_of_the_weights_is_one_more_copy_of_them() -> None:
    plain, averaged = traced(), traced(ema_decay=0.9)
    more = averaged.persistent_bytes - plain.persistent_bytes
    assert more == pytest.approx(plain.parameter_bytes, rel=0.05)


def test_an_encoder_that_thaws_counts_as_one_that_learns() -> None:
    assert traced(freeze_epochs=3).persistent_bytes == traced().persistent_bytes
    assert traced(freeze_epochs=4).persistent_bytes < 0.5 * traced().persistent_bytes


def test_cached_features_leave_the_frames_out() -> None:
    frozen, cached = (traced(freeze_epochs=4, cache_features=each) for each in (False, True))
    assert cached.tracker.peak_bytes < frozen.tracker.peak_bytes


@pytest.mark.parametrize("training", [{"mixup_alpha": 0.2, "cutmix_alpha": 1.0}, {"compile": True}])
def test_mixing_and_compiling_need_what_a_plain_step_needs(training: dict[str, Any]) -> None:
    assert traced(**training).tracker.peak_bytes == traced().tracker.peak_bytes
