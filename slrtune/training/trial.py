"""One trial from its settings to its best checkpoint: what a worker calls."""

from __future__ import annotations

import time
import traceback
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch

from slrtune.config.addresses import address_of
from slrtune.config.claim import claimed
from slrtune.config.experiment import Experiment
from slrtune.config.patience import patiently
from slrtune.data.feature_cache import FeatureFile
from slrtune.data.loader import ClipLoader, build_loader
from slrtune.data.prepare import prepare_data
from slrtune.data.prepared import PreparedData
from slrtune.training import distributed
from slrtune.training.batches import micro_batch_size
from slrtune.training.checkpoint import CheckpointStore
from slrtune.training.compiling import forget_compiled_code
from slrtune.training.construction import build_model
from slrtune.training.engine import ReportFn, Trainer
from slrtune.training.features import cached_features
from slrtune.training.lesson import Lesson, lesson_of, needs_of
from slrtune.training.memory_plan import MemoryPlan, PlanMemory, plan_nothing
from slrtune.training.peak_memory import free_memory, limit_gpu_memory
from slrtune.training.profiling import StepProfiler
from slrtune.training.seeding import deterministic_kernels, seed_everything
from slrtune.training.stepper import TrainingDivergedError

# Ray ends the workers of a dead driver within seconds, of a lost node within a minute.
_MAX_WAIT_S = 180.0

__all__ = ["ReportFn", "TrainingDivergedError", "TrialSummary", "train_trial"]


@dataclass(frozen=True)
class TrialSummary:
    """How a trial ended.

    Attributes:
        best: metrics of the epoch that is best by `training.judged_by`.
        last_epoch: finished epochs.
        is_stopped: ``report`` stopped it before its end.
        best_checkpoint: weights of the best epoch, see :class:`CheckpointStore`.
        num_parameters: of the model.
        wall_s: seconds of this call, loading and building included.
    """

    best: dict[str, float]
    last_epoch: int
    is_stopped: bool
    best_checkpoint: Path
    num_parameters: int
    wall_s: float


def train_trial(
    experiment: Experiment,
    folder: Path,
    report: ReportFn,
    plan_memory: PlanMemory = plan_nothing,
    *,
    num_told: int | None = None,
    use_profiler: bool = False,
) -> TrialSummary:
    """Train one trial, from its last checkpoint on if ``folder`` has one.

    Every worker of the trial calls it. Nothing of the trial stays in the process, whether it
    ends well or not, and nothing of earlier trials reaches it.

    Args:
        experiment: data, model and training settings.
        folder: the trial's folder; checkpoints go to ``folder/checkpoints``. Shared by workers.
        report: called on every rank after each epoch; returns whether to go on, the same on all.
        plan_memory: decides about the micro-batch and the memory limit.
        num_told: finished epochs whose reports are known to have arrived, where reports do not wait
            for an answer: see :meth:`Trainer.fit`.
        use_profiler: rank 0 records a few steps, see :class:`StepProfiler`; changes no result.

    Raises:
        UserError: the data or the checkpoint cannot be used.
        StorageError: ``folder`` was away or full for too long.
        TrainingDivergedError: losses or gradients stayed NaN or infinite.
        torch.OutOfMemoryError: the trial does not fit the GPU.
    """
    try:
        with (
            _alone_in(folder, experiment.resources.storage_patience_s),
            deterministic_kernels(is_strict=experiment.training.deterministic),
        ):
            return _train(experiment, folder, report, plan_memory, num_told, use_profiler)
    except BaseException as error:
        # the frames of the failed call hold the model and its gradients
        traceback.clear_frames(error.__traceback__)
        raise
    finally:
        if experiment.training.compile:
            forget_compiled_code()
        free_memory()


def _alone_in(folder: Path, patience_s: float) -> AbstractContextManager[None]:
    """Rank 0 waits for a worker that an earlier driver has left behind to die: it would write
    checkpoints between ours."""
    if distributed.rank() != 0:
        return nullcontext()
    lock_file = folder / "trial.lock"

    def make() -> None:
        # Not its parents: where they are not there, the storage is away, and what we made would
        # be on the disk beneath. That of an address is this machine's own.
        folder.mkdir(exist_ok=True, parents=address_of(folder) is not None)
        lock_file.touch()

    patiently(make, folder, patience_s)
    rule = "another process ({owner}) still trains in this folder; wait for it, or end it"
    return claimed(lock_file, f"{folder}: {rule}", _MAX_WAIT_S)


def _train(
    experiment: Experiment,
    folder: Path,
    report: ReportFn,
    plan_memory: PlanMemory,
    num_told: int | None,
    use_profiler: bool,
) -> TrialSummary:
    started_s = time.perf_counter()
    seed_everything(experiment.training.seed)
    prepared = prepare_data(experiment.data, needs=needs_of(experiment))
    lesson = lesson_of(experiment, prepared)
    plan = plan_memory(experiment, lesson.sizes)
    model = build_model(experiment, lesson.sizes)
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    device = current_device()
    # with the settings as they were given: `auto` may mean another micro-batch on another GPU
    checkpoints = CheckpointStore(
        folder / "checkpoints",
        experiment,
        lesson.glosses,
        lesson.tokenizer,
        lesson.clip_s,
        lesson.sizes.num_keypoints,
    )
    distributed.rank_zero_first(checkpoints.take_from_address)
    experiment = _with_plan(experiment, plan)
    if device.type == "cuda":
        limit_gpu_memory(device, plan.limit_gib)  # before features are computed, too
    # beside every accuracy: of how much of the listed clips it speaks
    splits, data = prepared.coverage.splits, experiment.data
    constants = {
        "num_parameters": num_parameters,
        "train_coverage": splits[data.train_split].share,
        "val_coverage": splits[data.val_split].share,
        **lesson.constants,
        **plan.metrics,
    }
    with ExitStack() as stack:
        if distributed.rank() == 0:
            stack.callback(checkpoints.remove_copy)
        features = profiler = None
        if experiment.training.cache_features:
            in_use = closing(cached_features(experiment, prepared, model, device))
            features = stack.enter_context(in_use)
        if use_profiler and distributed.rank() == 0:
            profiler = stack.enter_context(StepProfiler(folder, device))
        trainer = Trainer(
            model,
            _loader(experiment, prepared, lesson, features, device, is_training=True),
            _loader(experiment, prepared, lesson, features, device, is_training=False),
            experiment.training,
            device,
            checkpoints,
            plan.limit_gib,
            profiler.step if profiler else None,
            lesson.task(folder, device),
        )
        is_stopped = trainer.fit(lambda metrics: report({**metrics, **constants}), num_told)
    return TrialSummary(
        best=trainer.best,
        last_epoch=len(trainer.history),
        is_stopped=is_stopped,
        best_checkpoint=checkpoints.best,
        num_parameters=num_parameters,
        wall_s=time.perf_counter() - started_s,
    )


def _with_plan(experiment: Experiment, plan: MemoryPlan) -> Experiment:
    if plan.micro_batch_size is None:
        return experiment
    training = experiment.training.model_copy(update={"micro_batch_size": plan.micro_batch_size})
    return experiment.model_copy(update={"training": training})


def current_device() -> torch.device:
    """This worker's GPU (Ray Train makes it the current one), or the CPU where there is none."""
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")


def _loader(
    experiment: Experiment,
    prepared: PreparedData,
    lesson: Lesson,
    features: FeatureFile | None,
    device: torch.device,
    *,
    is_training: bool,
) -> ClipLoader:
    return build_loader(
        prepared,
        experiment.data,
        is_training=is_training,
        batch_size=experiment.training.batch_size,
        micro_batch_size=micro_batch_size(experiment.training),
        seed=experiment.training.seed,
        rank=distributed.rank(),
        world_size=distributed.world_size(),
        pin_memory=device.type == "cuda",
        class_balance=experiment.training.class_balance,
        features=features,
        num_keypoints=lesson.sizes.num_keypoints,
    )
