"""Rules of population based training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from slrtune.config.addresses import address_of, shown
from slrtune.config.broken_rule import BrokenRule

if TYPE_CHECKING:
    from slrtune.config.experiment import Experiment

_LEARNING_SAMPLERS = ("gp", "tpe", "cmaes")


def _a_population_meets(experiment: Experiment) -> Iterator[BrokenRule]:
    sweep, epochs = experiment.sweep, experiment.training.max_epochs
    if sweep.scheduler != "pbt":
        return
    if sweep.max_trials < 2:
        yield BrokenRule(
            "sweep.max_trials",
            ("sweep.scheduler",),
            f"must be at least 2 with sweep.scheduler pbt, whose population it is, but is "
            f"{sweep.max_trials}; raise it",
        )
    if not sweep.pbt.meetings(epochs):
        every = sweep.pbt.perturb_every_epochs or 1
        yield BrokenRule(
            "sweep.pbt.perturb_every_epochs",
            ("training.max_epochs", "sweep.scheduler"),
            f"must be < training.max_epochs, or the population never meets, but {every} >= "
            f"{epochs}; lower it or train longer",
        )


def _a_population_has_its_own_ways(experiment: Experiment) -> Iterator[BrokenRule]:
    sweep = experiment.sweep
    if sweep.scheduler != "pbt":
        return
    if sweep.sampler in _LEARNING_SAMPLERS:
        yield BrokenRule(
            "sweep.sampler",
            ("sweep.scheduler",),
            "must be auto, random or grid with sweep.scheduler pbt, whose population is drawn "
            f"before anything is learnt, but is {sweep.sampler}; set it to auto",
        )
    if address_of(experiment.runs_dir) is not None:
        yield BrokenRule(
            "sweep.scheduler",
            ("runs_dir",),
            "pbt needs a runs_dir that every node mounts, for its trials take over each other's "
            "checkpoints; use asha, or set runs_dir to a folder, not "
            f"{shown(experiment.runs_dir)}",
        )
    if sweep.objective == "pareto":
        yield BrokenRule(
            "sweep.objective",
            ("sweep.scheduler",),
            "must be accuracy with sweep.scheduler pbt, which needs one order of its trials, but "
            "is pareto; set it to accuracy or use asha",
        )
    if sweep.max_gpu_hours is not None:
        yield BrokenRule(
            "sweep.max_gpu_hours",
            ("sweep.scheduler",),
            "must be null with sweep.scheduler pbt: its trials begin and end together; lower "
            "sweep.max_trials or training.max_epochs instead",
        )
    if experiment.training.patience is not None:
        yield BrokenRule(
            "training.patience",
            ("sweep.scheduler",),
            "must be null with sweep.scheduler pbt, which gives a trial that no longer improves "
            f"the weights of a better one, but is {experiment.training.patience}; leave it out",
        )


POPULATION_RULES = (_a_population_meets, _a_population_has_its_own_ways)
