"""Counted arithmetic against what is known of the architectures."""

from __future__ import annotations

import pytest

from slrtune.config.validate import experiment_from_dict
from slrtune.memory.compute import training_tflops_per_clip
from slrtune.training.construction import OutputSizes


def tflops(**model: object) -> float:
    raw = {
        "data": {"num_frames": 2, "image_size": 64},
        "model": {
            "name": "cnn_transformer",
            "cnn_transformer": {"embed_dim": 64, "depth": 1, "num_heads": 2, **model},
        },
    }
    return training_tflops_per_clip(experiment_from_dict(raw, "test"), sizes=OutputSizes(5))


def test_resnet50_takes_what_its_paper_says() -> None:
    # He et al. 2016: 3.8e9 multiply-adds for 224 px; 4.1e9 with timm's stride in the 3x3.
    # Backward costs twice the forward, less the gradient of the first layer's input.
    frame = 2 * 3 * 4.1e9 * (64 / 224) ** 2
    assert tflops(backbone="resnet50") == pytest.approx(2 * frame / 1e12, rel=0.1)


def test_recomputed_activations_are_counted() -> None:
    kept = tflops(backbone="test_resnet", depth=4)
    recomputed = tflops(backbone="test_resnet", depth=4, activation_checkpointing=True)
    assert kept < recomputed < 1.5 * kept
