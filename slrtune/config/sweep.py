"""`sweep:` and `resources:` how many trials, how they are judged, what each may use."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field

from slrtune.config.base import Settings


class ASHAConfig(Settings):
    """Asynchronous successive halving (Li et al. 2020). The time axis is epochs."""

    grace_epochs: int | None = Field(default=None, ge=1)
    """The first rung: no trial is stopped before this epoch; null = a tenth of max_epochs."""
    reduction_factor: float = Field(default=3.0, gt=1.0)
    """At each rung the best 1/x go on; rungs lie x times apart."""

    def first_rung(self, max_epochs: int) -> int:
        """The first epoch at which a trial may be stopped."""
        return self.grace_epochs or max(1, max_epochs // 10)


LoggerName = Literal["mlflow", "wandb"]


class MedianConfig(Settings):
    """Median stopping (Golovin et al. 2017): a trial whose best value is worse than the median of
    the others' running means ends."""

    grace_epochs: int | None = Field(default=None, ge=1)
    """No trial is stopped before this epoch; null = a tenth of max_epochs."""
    min_trials: int = Field(default=3, ge=1)
    """Other trials that must have come as far before one is stopped."""

    def first_epoch(self, max_epochs: int) -> int:
        """The first epoch at which a trial may be stopped."""
        return self.grace_epochs or max(1, max_epochs // 10)


class PBTConfig(Settings):
    """Population based training (Jaderberg et al. 2017): all trials train together, and the weak go
    on from the weights of the strong, with settings close to theirs."""

    perturb_every_epochs: int | None = Field(default=None, ge=1)
    """All trials meet after every x epochs; null = a tenth of max_epochs."""
    quantile: float = Field(default=0.25, gt=0.0, le=0.5)
    """At each meeting the worst share x go on from one of the best share x."""
    resample_probability: float = Field(default=0.25, ge=0.0, le=1.0)
    """How often a setting that is taken over is drawn anew from its whole range."""
    perturb_factors: tuple[Annotated[float, Field(gt=0.0)], ...] = Field(
        default=(0.8, 1.2), min_length=1
    )
    """Else it is multiplied by one of these; choices move to the one before or after."""

    def meetings(self, max_epochs: int) -> list[int]:
        """Epochs after which trials wait for each other, first to last."""
        every = self.perturb_every_epochs or max(1, max_epochs // 10)
        return list(range(every, max_epochs, every))


class SweepConfig(Settings):
    """The search."""

    max_trials: int = Field(default=20, ge=1)
    """Configurations to try."""
    max_gpu_hours: float | None = Field(default=None, gt=0.0)
    """No trial is launched that is expected to end beyond this many GPU-hours of training (hours of
    workers where there are no GPUs); running ones end by themselves. null = no limit."""
    scheduler: Literal["asha", "median", "pbt", "none"] = "asha"
    """asha stops weak trials early, at rungs; median those below the median of the others, after
    any epoch; pbt stops none, but the weak take over weights and settings of the strong; none
    trains all to the end."""
    asha: ASHAConfig = ASHAConfig()
    """Settings of the asha scheduler."""
    median: MedianConfig = MedianConfig()
    """Settings of the median scheduler."""
    pbt: PBTConfig = PBTConfig()
    """Settings of the pbt scheduler, whose population is max_trials."""
    objective: Literal["accuracy", "pareto"] = "accuracy"
    """accuracy = the best validation top-1 under the memory budget; pareto = validation top-1 and
    peak training memory together: no trial on the front is worse in both than another."""
    sampler: Literal["auto", "gp", "tpe", "random", "grid", "cmaes"] = "auto"
    """What proposes configurations. gp = a Gaussian process over parameters and epochs, which needs
    few trials; tpe = Optuna's; cmaes = an evolution strategy, for ranges only; grid = every
    configuration of choices and steps once. All but random also learn which configurations keep to
    the memory budget.
    auto = gp for the objective accuracy, tpe for pareto, which gp does not know, random for the
    scheduler pbt, whose population is drawn before anything is learnt."""
    num_startup_trials: int = Field(default=10, ge=2)
    """Trials with a result before gp or tpe starts to model; until then configurations are
    random."""
    max_draws_per_trial: int = Field(default=100, ge=1)
    """Configurations drawn in a row that are predicted over the memory budget before the search
    gives up."""
    seed: int = Field(default=0, ge=0)
    """Seed of the sampler."""
    loggers: tuple[LoggerName, ...] = ()
    """Services that are told of every trial, beside TensorBoard: mlflow (MLFLOW_TRACKING_URI says
    where; by default mlflow.db in runs_dir), wandb (WANDB_API_KEY, WANDB_PROJECT, WANDB_MODE)."""
    max_concurrent_trials: int | None = Field(default=None, ge=1)
    """Trials at a time; null = as many as the cluster's resources hold."""
    max_trials_per_group: int | None = Field(default=None, ge=1)
    """Replace a warm worker group by a fresh one after this many trials; null = only when it grew,
    or after a CUDA error."""
    keep_checkpoints: int | None = Field(default=5, ge=1)
    """Ended trials whose best checkpoint is kept, the best of the sweep first (with the objective
    pareto also those on the front); null = every trial's. One that can go on keeps its last."""
    max_failures_per_trial: int = Field(default=2, ge=0)
    """How often a trial whose worker died is continued from its last checkpoint."""

    def rungs(self, max_epochs: int) -> list[int]:
        """Epochs at which ASHA judges, first to last."""
        if self.scheduler != "asha":
            return []
        grace, factor = self.asha.first_rung(max_epochs), self.asha.reduction_factor
        count = int(math.log((max_epochs + 1) / grace) / math.log(factor)) + 1
        # A trial at its last epoch is done: nothing is left to stop.
        rungs = [math.ceil(grace * factor**k) for k in range(count)]
        return [rung for rung in rungs if rung < max_epochs]


class ResourcesConfig(Settings):
    """What one trial occupies."""

    storage_patience_s: float = Field(default=300.0, ge=0.0)
    """How long a sweep waits for a runs_dir that is away or full, before it stops; its trials then
    go on from their last checkpoints when it is resumed."""
    workers_per_trial: int = Field(default=1, ge=1)
    """Data-parallel training processes (DDP)."""
    cpus_per_worker: float = Field(default=1.0, gt=0.0)
    """CPU cores per worker, also its number of threads."""
    gpus_per_worker: float | None = Field(default=None, ge=0.0)
    """GPUs per worker; null = 1 where the cluster has GPUs, else 0."""
    gpu_packing: Literal["none", "auto"] = "none"
    """auto = workers share GPUs: each asks for the share that the largest configuration within the
    budget is predicted to need, the same for the whole sweep, and is held to it. Where the cluster
    has GPUs and gpus_per_worker is null."""
    memory_budget_gib: Annotated[float, Field(gt=0.0)] | Literal["auto"] | None = "auto"
    """What one worker may take of its GPU, CUDA context included, and cannot exceed; a sweep does
    not launch what is predicted to need more. auto = what is free on the smallest GPU (its share
    where workers share a GPU), no limit on CPU. A number limits on CPU the tensors of a training
    step. null = no limit."""
