"""Architectures: tensors in, tensors out. One file per architecture, shared layers beside them."""

from __future__ import annotations

import importlib
import pkgutil

from slrtune.models.registry import (
    FrameFeatureModel,
    VideoModel,
    create_model,
    list_models,
    model_class,
    register_model,
)

# A new architecture is one new file: importing it runs its @register_model.
for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = [
    "FrameFeatureModel",
    "VideoModel",
    "create_model",
    "list_models",
    "model_class",
    "register_model",
]
