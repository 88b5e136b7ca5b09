"""Every architecture under its name, and the contract that all of them keep.

Shapes: B batch, T frames, C channels, H W pixels, G glosses.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any, ClassVar, TypeVar

from torch import Tensor, nn

from slrtune.config.errors import UserError


class VideoModel(nn.Module, ABC):
    """A clip classifier: what the training engine, the report and deployment may rely on.

    A model is built from keyword arguments (numbers and strings), among them always
    ``num_classes``, ``num_frames`` and ``image_size``.

    Attributes:
        encoder_prefixes: parameters whose name starts with one of these are the (pretrained)
            encoder and learn with ``encoder_learning_rate``; the others with ``learning_rate``.
        has_frame_features: the encoder sees each frame alone, and ``forward`` is
            ``classify_features(frame_features(frames))``.
    """

    encoder_prefixes: ClassVar[tuple[str, ...]] = ()
    has_frame_features: ClassVar[bool] = False

    @abstractmethod
    def forward(self, frames: Tensor, frame_mask: Tensor | None = None) -> Tensor:
        """Classify clips.

        Args:
            frames: (B, T, C, H, W) floats, already normalised.
            frame_mask: (B, T) booleans, True where the frame is real and False where it is
                padding. Padding may hold any value, NaN included: it never changes the logits.
                None when all are real; needed under fake tensors and for export, which cannot
                look at the values of a mask.

        Returns:
            (B, G) logits.
        """

    def no_weight_decay_names(self) -> set[str]:
        """Names of parameters that weight decay must spare: positions and learned tokens."""
        return set()

    def layer_depths(self) -> dict[str, int]:
        """Layer of every parameter, by name: 0 for embeddings, L + 1 after the last of L blocks."""
        return dict.fromkeys((name for name, _ in self.named_parameters()), 0)

    def frame_features(self, frames: Tensor, frame_mask: Tensor | None = None) -> Tensor:
        """What the encoder makes of each frame alone: (B, T, F); only ``has_frame_features``."""
        raise NotImplementedError(f"{type(self).__name__} has no features of single frames")

    def classify_features(self, features: Tensor, frame_mask: Tensor | None = None) -> Tensor:
        """(B, G) logits from :meth:`frame_features`; only ``has_frame_features``."""
        raise NotImplementedError(f"{type(self).__name__} has no features of single frames")


ModelClass = TypeVar("ModelClass", bound=type[VideoModel])

_MODELS: dict[str, type[VideoModel]] = {}


def register_model(name: str) -> Callable[[ModelClass], ModelClass]:
    """Class decorator that makes an architecture known under ``name`` in YAML and in tests.

    Raises:
        ValueError: another class already has the name.
    """

    def register(model_class: ModelClass) -> ModelClass:
        if name in _MODELS:
            raise ValueError(f"model {name!r} is already registered by {_MODELS[name].__module__}")
        _MODELS[name] = model_class
        return model_class

    return register


def list_models() -> list[str]:
    """Names of all registered architectures, sorted."""
    return sorted(_MODELS)


def model_class(name: str) -> type[VideoModel]:
    """The class registered as ``name``; its signature tells the settings that it knows.

    Raises:
        UserError: no architecture has that name.
    """
    if name not in _MODELS:
        guess = get_close_matches(name, _MODELS, n=1)
        hint = f"; did you mean {guess[0]!r}?" if guess else ""
        raise UserError(
            f"model.name must be one of {', '.join(list_models())}, but is {name!r}{hint}"
        )
    return _MODELS[name]


def create_model(name: str, **kwargs: Any) -> VideoModel:
    """Build the architecture ``name`` from its keyword arguments, in training mode.

    Raises:
        UserError: no architecture has that name, or its pretrained weights cannot be had.
        ValueError: the keyword arguments contradict each other.
    """
    return model_class(name)(**kwargs)
