"""What of an experiment its memory depends on."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from typing import Any

from slrtune.config.experiment import Experiment

# All other settings of `training` and of the model's section count, those of later versions too.
_IRRELEVANT = frozenset((
    "seed", "max_epochs", "batch_size", "micro_batch_size", "learning_rate",
    "encoder_learning_rate", "layer_decay", "weight_decay", "warmup_epochs",
    "min_learning_rate_ratio", "patience", "max_nonfinite_steps", "pretrained",
    "mixup_alpha", "cutmix_alpha", "class_balance", "compile", "deterministic",
    "empty_cache_each_epoch", "freeze_epochs", "ctc_weight", "ce_weight", "judged_by",
))  # fmt: skip
# Of these it only matters whether they are 0.
_SHARES = frozenset((
    "dropout", "attention_dropout", "drop_path", "label_smoothing", "gloss_ctc_weight",
    "contrastive_epochs", "gloss_weight", "keypoint_weight",
))  # fmt: skip
# Of these it only matters whether they are there.
_OPTIONS = frozenset(("ema_decay", "max_grad_norm"))


@dataclass(frozen=True)
class Structure:
    """Everything that the operators of a step follow from, but batch and depth.

    Attributes:
        key: text that is equal for equal structures.
        depth: blocks of the transformer; 0 where the experiment does not set them.
        num_frames: frames of a clip.
        frame_chunk_size: frames at once; None for all.
        attention_chunk_size: query rows at once; None for all.
    """

    key: str
    depth: int
    num_frames: int
    frame_chunk_size: int | None
    attention_chunk_size: int | None

    @classmethod
    def of(cls, experiment: Experiment) -> Structure:
        """Of an experiment."""
        section = experiment.model.section.model_dump(mode="json")
        training = experiment.training
        # null: the depth follows from another setting, which counts by itself
        depth = section.pop("depth", None) or 0
        chunks = [section.pop(f"{what}_chunk_size", None) for what in ("frame", "attention")]
        settings = {
            "model": experiment.model.name,
            **_relevant(section),
            **_relevant(training.model_dump(mode="json")),
            # of how long it is frozen it only matters whether that is for ever
            "is_encoder_frozen": training.freeze_epochs >= training.max_epochs,
            "num_frames": experiment.data.num_frames,
            "image_size": experiment.data.image_size,
        }
        key = json.dumps(settings, sort_keys=True)
        return cls(key, depth, experiment.data.num_frames, chunks[0], chunks[1])

    def num_chunks(self, micro_batch_size: int) -> int:
        """Chunks of frames of a micro-batch."""
        if self.frame_chunk_size is None:
            return 1
        return math.ceil(micro_batch_size * self.num_frames / self.frame_chunk_size)

    def without_frame_chunks(self) -> Structure:
        """The structure of a micro-batch that is one chunk: as if there were no chunks."""
        return replace(self, frame_chunk_size=None)

    def without_attention_chunks(self) -> Structure:
        """The structure of sequences that are no longer than a chunk."""
        return replace(self, attention_chunk_size=None)

    def name(self, *more: object) -> str:
        """Text for all of it but the depth, and for ``more``."""
        return json.dumps([self.key, self.frame_chunk_size, self.attention_chunk_size, *more])


def _relevant(settings: dict[str, Any]) -> dict[str, Any]:
    relevant = {name: value for name, value in settings.items() if name not in _IRRELEVANT}
    for name, value in relevant.items():
        if name in _SHARES:
            relevant[name] = value > 0
        elif name in _OPTIONS:
            relevant[name] = value is not None
    return relevant


def as_structured(
    experiment: Experiment, structure: Structure, depth: int | None = None
) -> Experiment:
    """The experiment with the chunks of ``structure`` and, where given, another depth."""
    section = experiment.model.section
    wanted = {
        "frame_chunk_size": structure.frame_chunk_size,
        "attention_chunk_size": structure.attention_chunk_size,
        "depth": (structure.depth if depth is None else depth) or None,
    }
    known = {name: value for name, value in wanted.items() if name in type(section).model_fields}
    model = experiment.model.model_copy(
        update={experiment.model.name: section.model_copy(update=known)}
    )
    return experiment.model_copy(update={"model": model})
