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
from slrtune.models.translation import (
    DecoderState,
    TranslationModel,
    TranslatorOutput,
    VideoMemory,
)

# A new architecture is one new file: importing it runs its @register_model.
for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = [
    "DecoderState",
    "FrameFeatureModel",
    "TranslationModel",
    "TranslatorOutput",
    "VideoMemory",
    "VideoModel",
    "create_model",
    "list_models",
    "model_class",
    "register_model",
]
