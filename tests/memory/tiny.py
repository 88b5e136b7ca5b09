"""Experiments that are small enough to train for real in a test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from slrtune.config.experiment import Experiment
from slrtune.training.construction import OutputSizes

SIZES = OutputSizes(num_glosses=7)
_WIDTH = {"embed_dim": 32, "depth": 2, "num_heads": 2}
_MODELS = {
    "cnn": ("cnn_transformer", {"backbone": "test_resnet", "pretrained": False, **_WIDTH}),
    "vit": ("cnn_transformer", {"backbone": "test_vit", "pretrained": False, **_WIDTH}),
    "timesformer": ("timesformer", {"patch_size": 16, **_WIDTH}),
}


def tiny(
    model: str,
    cache_dir: Path,
    *,
    data: dict[str, Any] | None = None,
    training: dict[str, Any] | None = None,
    resources: dict[str, Any] | None = None,
    **section: Any,
) -> Experiment:
    """``model`` is cnn, vit or timesformer; further settings are those of its section."""
    name, defaults = _MODELS[model]
    shape = {"num_frames": 4, "image_size": 32, "cache_dir": cache_dir}
    recipe = {"batch_size": 4, "max_epochs": 1, "warmup_epochs": 0.0}
    return Experiment.model_validate(
        {
            "data": {**shape, **(data or {})},
            "model": {"name": name, name: {**defaults, **section}},
            "training": {**recipe, **(training or {})},
            "resources": resources or {},
        }
    )
