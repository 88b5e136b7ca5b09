"""A model for an experiment and for what its data ask of it."""

from __future__ import annotations

from typing import Any, NamedTuple

from slrtune.config.experiment import Experiment
from slrtune.models import VideoModel, create_model


class OutputSizes(NamedTuple):
    """What the data ask of a model.

    Attributes:
        num_glosses: glosses to tell apart; for translation, those of the training clips where they
            are learnt (else 0).
        vocab_size: tokens of a translator's texts, specials included; 0 for recognition.
        text_length: tokens of the longest text, with its beginning; 0 for recognition.
        gloss_length: glosses of the longest clip, where they are learnt.
        num_keypoints: landmarks of a frame, where they are learnt.
    """

    num_glosses: int
    vocab_size: int = 0
    text_length: int = 0
    gloss_length: int = 0
    num_keypoints: int = 0


def build_model(
    experiment: Experiment, sizes: OutputSizes, *, is_pretrained: bool = True
) -> VideoModel:
    """The model of an experiment, in training mode.

    Args:
        is_pretrained: False = random weights, whatever the settings say.

    Raises:
        UserError: published weights cannot be had, or do not fit.
    """
    settings: dict[str, Any] = experiment.model.section.model_dump()
    if not is_pretrained:
        settings["pretrained"] = False
    if experiment.model.task == "translation":
        training = experiment.training
        settings |= {
            "vocab_size": sizes.vocab_size,
            "num_glosses": sizes.num_glosses if training.gloss_ctc_weight else 0,
            "num_bag_glosses": sizes.num_glosses if training.gloss_weight else 0,
            "num_keypoints": sizes.num_keypoints if training.keypoint_weight else 0,
            "has_embedding": training.contrastive_epochs > 0,
        }
        if not sizes.num_keypoints:  # of a sweep whose own settings ask for none
            settings["region_attention"] = ()
    else:
        settings["num_classes"] = sizes.num_glosses
    return create_model(
        experiment.model.name,
        num_frames=experiment.data.num_frames,
        image_size=experiment.data.image_size,
        **settings,
    )
