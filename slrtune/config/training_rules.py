"""Rules of the recipe and of the search."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from slrtune.config.broken_rule import BrokenRule
from slrtune.config.objective import OBJECTIVES

if TYPE_CHECKING:
    from slrtune.config.experiment import Experiment


def _batches_divide(experiment: Experiment) -> Iterator[BrokenRule]:
    training, workers = experiment.training, experiment.resources.workers_per_trial
    micro = training.micro_batch_size
    if training.batch_size % workers:
        yield BrokenRule(
            "training.batch_size",
            ("resources.workers_per_trial",),
            f"must be a multiple of resources.workers_per_trial, but {training.batch_size} "
            f"clips do not share out to {workers} workers; change either",
        )
    elif isinstance(micro, int) and training.batch_size % (workers * micro):
        yield BrokenRule(
            "training.micro_batch_size",
            ("training.batch_size", "resources.workers_per_trial"),
            f"times {workers} worker(s) must divide training.batch_size, but "
            f"{training.batch_size} / {workers * micro} leaves a remainder; "
            "change either",
        )


def _grace_ends_before_training(experiment: Experiment) -> Iterator[BrokenRule]:
    sweep, epochs = experiment.sweep, experiment.training.max_epochs
    graces = {"asha": sweep.asha.grace_epochs, "median": sweep.median.grace_epochs}
    grace = graces.get(sweep.scheduler)
    if grace is not None and grace > epochs:
        yield BrokenRule(
            f"sweep.{sweep.scheduler}.grace_epochs",
            ("training.max_epochs", "sweep.scheduler"),
            f"must be <= training.max_epochs, but {grace} > {epochs}; lower it",
        )


def _model_is_judged_by_its_task(experiment: Experiment) -> Iterator[BrokenRule]:
    objective, task = experiment.objective, experiment.model.task
    if objective.task != task:
        names = ", ".join(name for name, other in OBJECTIVES.items() if other.task == task)
        yield BrokenRule(
            "training.judged_by",
            ("model.name",),
            f"must be auto, {names} for model {experiment.model.name}, which does {task}, but is "
            f"{experiment.training.judged_by}; set it to auto",
        )


def _sampler_has_one_objective(experiment: Experiment) -> Iterator[BrokenRule]:
    sweep = experiment.sweep
    if sweep.sampler in ("gp", "cmaes") and sweep.objective == "pareto":
        yield BrokenRule(
            "sweep.sampler",
            ("sweep.objective",),
            "must be tpe, random, grid or auto with the objective pareto, but is "
            f"{sweep.sampler}; set it to auto",
        )


def _warmup_ends_before_training(experiment: Experiment) -> Iterator[BrokenRule]:
    training = experiment.training
    if training.warmup_epochs > training.max_epochs:
        yield BrokenRule(
            "training.warmup_epochs",
            ("training.max_epochs",),
            f"must be <= training.max_epochs, but {training.warmup_epochs:g} > "
            f"{training.max_epochs}; lower it",
        )


def _mixing_has_pairs(experiment: Experiment) -> Iterator[BrokenRule]:
    training, workers = experiment.training, experiment.resources.workers_per_trial
    per_worker = training.batch_size // workers
    size = training.micro_batch_size if isinstance(training.micro_batch_size, int) else per_worker
    for key in ("mixup_alpha", "cutmix_alpha"):
        if getattr(training, key) and size == 1:
            yield BrokenRule(
                f"training.{key}",
                (
                    "training.micro_batch_size",
                    "training.batch_size",
                    "resources.workers_per_trial",
                ),
                "must be 0 with micro-batches of one clip, which has no other to be mixed with; "
                "set it to 0 or raise training.micro_batch_size",
            )


def _automatic_choices_do_not_meet(experiment: Experiment) -> Iterator[BrokenRule]:
    training = experiment.training
    if training.micro_batch_size != "auto":
        return
    for key in ("mixup_alpha", "cutmix_alpha"):
        if getattr(training, key):
            yield BrokenRule(
                f"training.{key}",
                ("training.micro_batch_size",),
                "must be 0 with training.micro_batch_size auto: clips are mixed within a "
                "micro-batch, so the result would depend on the GPU; give "
                "training.micro_batch_size a number or set it to 0",
            )
    if experiment.resources.gpu_packing == "auto":
        yield BrokenRule(
            "resources.gpu_packing",
            ("training.micro_batch_size",),
            "must be none with training.micro_batch_size auto, which fills a GPU with one trial; "
            "give training.micro_batch_size a number or set it to none",
        )


def _cached_features_stay_true(experiment: Experiment) -> Iterator[BrokenRule]:
    training = experiment.training
    if not training.cache_features:
        return
    if training.freeze_epochs < training.max_epochs:
        yield BrokenRule(
            "training.cache_features",
            ("training.freeze_epochs", "training.max_epochs"),
            "needs an encoder that never learns, but training.freeze_epochs "
            f"{training.freeze_epochs} < training.max_epochs {training.max_epochs}; raise "
            "training.freeze_epochs or set training.cache_features to false",
        )
    if experiment.model.name != "cnn_transformer":
        yield BrokenRule(
            "training.cache_features",
            ("model.name",),
            f"needs a model that sees each frame alone, but {experiment.model.name} does not; set "
            "model.name to cnn_transformer or training.cache_features to false",
        )
    if training.cutmix_alpha:
        yield BrokenRule(
            "training.cutmix_alpha",
            ("training.cache_features",),
            "must be 0 with training.cache_features: features have no boxes; set it to 0 "
            "(training.mixup_alpha blends features, too)",
        )


TRAINING_RULES = (
    _batches_divide,
    _grace_ends_before_training,
    _model_is_judged_by_its_task,
    _sampler_has_one_objective,
    _warmup_ends_before_training,
    _mixing_has_pairs,
    _automatic_choices_do_not_meet,
    _cached_features_stay_true,
)
