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
from slrtune.config.objective import Task


class VideoModel(nn.Module, ABC):
    """A clip classifier: what the training engine, the report and deployment may rely on.

    A model is built from keyword arguments (numbers and strings), among them always
    ``num_classes``, ``num_frames`` and ``image_size``.

    Attributes:
        task: what the model is for: the gloss of a clip, or its text (``translation.py``).
        encoder_prefixes: parameters whose name starts with one of these are the (pretrained)
            encoder and learn with ``encoder_learning_rate``; the others with ``learning_rate``.
        has_frame_features: whether the model is a :class:`FrameFeatureModel`.
    """

    task: ClassVar[Task] = "recognition"
    encoder_prefixes: ClassVar[tuple[str, ...]] = ()
    has_frame_features: ClassVar[bool] = False

    @abstractmethod
    def forward(self, frames: Tensor, frame_mask: Tensor | None = None) -> Tensor:
        """Classify clips.

        Args:
            frames: (B, T, C, H, W) floats, already normalised.
            frame_mask: (B, T) booleans, True where the frame is real and False where it is
                padding. Padding may hold any value, NaN included: it never changes the logits.
                None when all are real, which is faster and, under fake tensors and for export,
                needed by models that gather the real frames.

        Returns:
            (B, G) logits.
        """

    def no_weight_decay_names(self) -> set[str]:
        """Names of parameters that weight decay must spare: positions and learned tokens."""
        return set()

    def layer_depths(self) -> dict[str, int]:
        """How deep each parameter lies, for learning rates that fall towards the input.

        Returns:
            Parameter name → depth: 0 where the pixels come in, rising by one per block, and the
            greatest for the classifier. This default says that all lie at one depth.
        """
        return {name: 0 for name, _ in self.named_parameters()}


class FrameFeatureModel(VideoModel):
    """A model of a frame encoder and the rest, so that features of frames can be stored.

    ``forward(frames, mask)`` equals ``classify_features(frame_features(frames, mask), mask)``.
    """

    has_frame_features: ClassVar[bool] = True

    @abstractmethod
    def frame_features(self, frames: Tensor, frame_mask: Tensor | None = None) -> Tensor:
        """Encode each frame by itself.

        Returns:
            (B, T, F) features; those of padded frames are zero.
        """

    @abstractmethod
    def classify_features(self, features: Tensor, frame_mask: Tensor | None = None) -> Tensor:
        """(B, G) logits from the (B, T, F) features of :meth:`frame_features`."""

    def forward(self, frames: Tensor, frame_mask: Tensor | None = None) -> Tensor:
        return self.classify_features(self.frame_features(frames, frame_mask), frame_mask)


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


def list_models(task: Task | None = None) -> list[str]:
    """Names of the registered architectures for ``task`` (None = of all), sorted."""
    return sorted(name for name, model in _MODELS.items() if task in (None, model.task))


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
