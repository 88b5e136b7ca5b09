"""A trained translator at work: frames in, text out, by any way of decoding.

Shapes: B clips, T frames, C channels, H W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from slrtune.config.decoding import DecodingConfig
from slrtune.config.errors import UserError
from slrtune.config.training import TrainingConfig
from slrtune.deploy.trained_model import TrainedModel
from slrtune.models import TranslationModel, VideoMemory
from slrtune.text.decoding import decode
from slrtune.training.normalization import frame_layout, normalize_frames
from slrtune.training.precision import Precision, resolve_precision

MAX_LOGIT_ERROR = 0.02
"""By which a lower precision may change the logits, relative to their norm."""
METHODS = ("ctc", "ctc_beam", "greedy", "beam", "joint")
"""Ways of decoding that give the same text each time, cheapest first."""


class Written(NamedTuple):
    """A text with the model's confidence in it, 0..1: the geometric mean over its tokens."""

    text: str
    confidence: float


class Translator:
    """Reads clips and writes what they say.

    Args:
        trained: a checkpoint of a translator.
        device: where it works.
        precision: None = that of the training. A lower one than float32 on a CPU is tried on the
            first clips, and given up where its logits differ from those of float32 by more than
            `MAX_LOGIT_ERROR`: `logit_error` says by how much.

    Raises:
        UserError: it is no translator, or its settings do not fit its weights.
    """

    def __init__(
        self,
        trained: TrainedModel,
        device: torch.device,
        precision: Literal["float32", "bf16"] | None = None,
    ) -> None:
        if trained.tokenizer is None:
            raise UserError(
                f"{trained.path}: must be a translator, but is a model of glosses "
                f"({trained.experiment.model.name}); name the checkpoint of a model that "
                "translates, such as dense_vit"
            )
        model = trained.build()
        assert isinstance(model, TranslationModel)  # only those have a tokenizer
        self.trained, self.tokenizer, self.device = trained, trained.tokenizer, device
        self.model = model.to(device).eval()
        asked = precision or trained.experiment.training.precision
        self.precision: Precision = resolve_precision(asked, device)
        self.logit_error: float | None = None
        self._must_check = device.type == "cpu" and self.precision.name != "float32"
        self._layout = frame_layout(self.model)

    @torch.inference_mode()
    def encode(self, frames: Tensor) -> VideoMemory:
        """Clips uint8 (B, T, C, H, W) as the decoder sees them."""
        inputs = normalize_frames(frames.to(self.device, non_blocking=True), self._layout)
        if self._must_check:
            self._must_check = False
            return self._compared(inputs)
        with self.precision.autocast(is_inference=True):
            return self.model.encode(inputs)

    def _compared(self, inputs: Tensor) -> VideoMemory:
        """The clips in float32, and whether the lower precision says the same of them."""
        exact = self.model.encode(inputs)
        with self.precision.autocast(is_inference=True):
            rough = self.model.encode(inputs)
        difference = (rough.ctc_logits.float() - exact.ctc_logits).norm()
        self.logit_error = float(difference / exact.ctc_logits.norm())
        if not self.logit_error <= MAX_LOGIT_ERROR:  # NaN, too
            self.precision = resolve_precision("float32", self.device)
        return exact

    @torch.inference_mode()
    def write(self, memory: VideoMemory, decoding: DecodingConfig) -> list[Written]:
        """The text of each clip."""
        decoder: Any = self.model
        with self.precision.autocast(is_inference=True):
            found = decode(decoder, memory, decoding)
        return [Written(self.tokenizer.decode(each.ids), each.confidence) for each in found]


def trained_methods(training: TrainingConfig) -> tuple[str, ...]:
    """Ways of decoding whose part of the model has learnt."""
    untrained = set()
    if not training.ctc_weight:
        untrained |= {"ctc", "ctc_beam", "joint"}
    if not training.ce_weight:
        untrained |= {"greedy", "beam", "joint"}
    return tuple(method for method in METHODS if method not in untrained)


def with_method(decoding: DecodingConfig, method: str) -> DecodingConfig:
    """The same settings for another way of decoding."""
    return DecodingConfig.model_validate({**decoding.model_dump(), "method": method})


def check_methods(
    training: TrainingConfig, methods: Sequence[str], known: Sequence[str]
) -> tuple[str, ...]:
    """The methods that the command line names.

    Raises:
        UserError: one is unknown, or its part of the model has not learnt.
    """
    for method in methods:
        if method not in known:
            raise UserError(
                f"--decode: must be of {', '.join(known)}, but is {method!r}; name one of them"
            )
        part = "greedy" if method == "sample" else method
        able = trained_methods(training)
        if part not in able:
            raise UserError(
                f"--decode: {method} needs a part of the model that was trained with weight 0; "
                f"take {', '.join(able)}"
            )
    return tuple(dict.fromkeys(methods))
