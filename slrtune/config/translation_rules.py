"""Rules between the settings of models that translate."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from slrtune.config.broken_rule import BrokenRule

if TYPE_CHECKING:
    from slrtune.config.experiment import Experiment


def _something_is_learnt(experiment: Experiment) -> Iterator[BrokenRule]:
    training = experiment.training
    if experiment.model.task == "translation" and not training.ctc_weight + training.ce_weight:
        yield BrokenRule(
            "training.ctc_weight",
            ("training.ce_weight",),
            "and training.ce_weight must not both be 0, or no text is learnt; raise one",
        )


def _what_writes_has_learnt(experiment: Experiment) -> Iterator[BrokenRule]:
    """A part of the model whose loss has no weight would write at random."""
    if experiment.model.task != "translation":
        return
    method, training = experiment.decoding.method, experiment.training
    asked = {
        "ctc_weight": method in ("ctc", "ctc_beam", "joint"),
        "ce_weight": method not in ("ctc", "ctc_beam"),
    }
    for key, is_asked in asked.items():
        if is_asked and not getattr(training, key) and training.ctc_weight + training.ce_weight:
            others = "greedy or beam" if key == "ctc_weight" else "ctc or ctc_beam"
            yield BrokenRule(
                "decoding.method",
                (f"training.{key}",),
                f"must not be {method} with training.{key} 0, which leaves that part of the model "
                f"untrained; take {others} or raise training.{key}",
            )


def _extras_belong_to_translators(experiment: Experiment) -> Iterator[BrokenRule]:
    if experiment.model.task == "translation":
        return
    for key in ("gloss_weight", "keypoint_weight"):
        if getattr(experiment.training, key):
            yield BrokenRule(
                f"training.{key}",
                ("model.name",),
                f"must be 0 for model {experiment.model.name}, which does not translate; set it to "
                "0 or model.name to dense_vit",
            )


def _texts_are_not_mixed(experiment: Experiment) -> Iterator[BrokenRule]:
    if experiment.model.task != "translation":
        return
    for key in ("mixup_alpha", "cutmix_alpha", "class_balance"):
        if getattr(experiment.training, key):
            yield BrokenRule(
                f"training.{key}",
                ("model.name",),
                f"must be 0 for model {experiment.model.name}, whose clips have sentences and no "
                "class; set it to 0",
            )


def _pretraining_ends_and_has_others(experiment: Experiment) -> Iterator[BrokenRule]:
    training, workers = experiment.training, experiment.resources.workers_per_trial
    if not training.contrastive_epochs:
        return
    if experiment.model.task != "translation":
        yield BrokenRule(
            "training.contrastive_epochs",
            ("model.name",),
            f"must be 0 for model {experiment.model.name}, which does not translate; set it to 0",
        )
    if training.contrastive_epochs >= training.max_epochs:
        yield BrokenRule(
            "training.contrastive_epochs",
            ("training.max_epochs",),
            f"must be < training.max_epochs, but {training.contrastive_epochs} >= "
            f"{training.max_epochs}; lower it, or no text is learnt",
        )
    size = training.micro_batch_size
    if (training.batch_size // workers if size is None else size) == 1:
        yield BrokenRule(
            "training.contrastive_epochs",
            ("training.micro_batch_size", "training.batch_size"),
            "must be 0 with micro-batches of one clip, which has no other to be told from; raise "
            "training.micro_batch_size",
        )


TRANSLATION_RULES = (
    _something_is_learnt,
    _what_writes_has_learnt,
    _extras_belong_to_translators,
    _texts_are_not_mixed,
    _pretraining_ends_and_has_others,
)
