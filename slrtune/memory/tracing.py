"""Run the real training step on tensors without data, and write down what is alive when.

The model comes from ``create_model`` and the step from ``Trainer``, as in a real trial, while
operators compute shapes and types only (``hollow.py``). So a new architecture, loss or optimizer
needs nothing here.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from slrtune.config.data import DataConfig
from slrtune.config.experiment import Experiment
from slrtune.config.training import TrainingConfig
from slrtune.data.loader import ClipBatch
from slrtune.memory.devices import DeviceType
from slrtune.memory.hollow import HollowMode
from slrtune.memory.semantics import CudaSemantics, FiniteValues, workspace_bytes
from slrtune.memory.timeline import Timeline, TimelineTracker
from slrtune.models.registry import FrameFeatureModel
from slrtune.training import distributed
from slrtune.training.construction import OutputSizes, build_model
from slrtune.training.engine import Trainer
from slrtune.training.lesson import task_without_data
from slrtune.training.normalization import normalize_frames

_CPU = torch.device("cpu")


class FakeTrial:
    """A trial that needs no data, no GPU and hardly any memory.

    Attributes:
        parameter_bytes: weights and buffers.
        persistent_bytes: what is alive between two steps: the weights, the optimizer's state.

    Args:
        experiment: a valid one.
        device: what to trace for.
        sizes: what the data ask of the model.
        num_workers: data-parallel workers.
    """

    def __init__(
        self, experiment: Experiment, device: DeviceType, sizes: OutputSizes, num_workers: int
    ) -> None:
        self._data, self._device, self._num_workers = experiment.data, device, num_workers
        self._num_keypoints = sizes.num_keypoints
        self.tracker = TimelineTracker(workspace_bytes if device.is_cuda else None)
        config = _traced_config(experiment.training, device)
        self._last_epoch = config.max_epochs - 1
        self._task = task_without_data(experiment.model_copy(update={"training": config}), sizes)
        self._semantics = CudaSemantics(device) if device.is_cuda else FiniteValues()
        with torch.device("meta"), FiniteValues():
            model = build_model(experiment, sizes, is_pretrained=False)
        with self._tracing():
            model.to_empty(device=_CPU)
            self._trainer = Trainer(model, _NoClips(), _NoClips(), config, _CPU, task=self._task)
            self._trainer.memory = self.tracker  # type: ignore[assignment]
            self._trainer.num_micro_batches = 1
            self._model = self._trainer.model
            self._features = self._frame_features() if config.cache_features else None
            self._trainer.network.train()
            self.parameter_bytes = self._count_parameters()
            self._gradient_buckets = self._make_buckets()
            self._step_once_without_clips()
        self.persistent_bytes = self.tracker.live_bytes

    @property
    def longest_query(self) -> int:
        """Most rows of queries that attention was called with; 0 = it never was."""
        return self._semantics.longest_query

    def trace_step(self, micro_batch_size: int, *, is_accumulating: bool) -> Timeline:
        """An optimizer step when all earlier ones are done and the optimizer has its state.

        Args:
            micro_batch_size: clips per forward-backward.
            is_accumulating: whether an earlier micro-batch left its gradients. Later ones are like
                the second, so the first, which needs less, is left out.
        """
        with self._tracing():
            if is_accumulating:
                self._make_gradients()
            self.tracker.restart()
            self._trainer.train_step(iter([self._training_clips(micro_batch_size)]))
            return self.tracker.timeline()

    def trace_inference(self, batch_size: int) -> Timeline:
        """A forward pass as in evaluation; the training state is taken to be gone."""
        tracker = TimelineTracker(workspace_bytes if self._device.is_cuda else None)
        with self._tracing(), torch.inference_mode():
            clips = self._clips(batch_size)
            self._model.eval()
            try:
                with tracker, self._trainer.precision.autocast(is_inference=True):
                    tracker.track((*self._model.parameters(), *self._model.buffers()))
                    frames, targets = (
                        normalize_frames(clips.frames),
                        self._task.targets(clips, self._last_epoch),
                    )
                    self._model(*self._task.inputs(frames, targets))
            finally:
                self._model.train()
            return tracker.timeline()

    @contextmanager
    def _tracing(self) -> Iterator[None]:
        with ExitStack() as stack:
            # rank 0 traces for all; the ranks beside it are accounted for by their buckets
            stack.enter_context(distributed.alone())
            stack.enter_context(_without_garbage_collection())
            # recomputation saves and restores the generator's state; nothing draws from it
            stack.enter_context(torch.random.fork_rng(devices=[]))
            stack.enter_context(torch.enable_grad())
            stack.enter_context(HollowMode())
            stack.enter_context(self._semantics)
            yield

    def _clips(self, batch_size: int) -> ClipBatch:
        return _fake_clips(self._data, batch_size, self._num_keypoints)

    def _training_clips(self, batch_size: int) -> ClipBatch:
        clips = self._clips(batch_size)
        if self._features is None:
            return clips
        features = self._features.new_empty(batch_size, *self._features.shape[1:])
        return replace(clips, frames=features)

    def _frame_features(self) -> Tensor:
        """What a trial on cached features has in place of a clip's frames: (1, T, F)."""
        assert isinstance(self._model, FrameFeatureModel)  # a rule of the experiment
        frames = normalize_frames(self._clips(1).frames)
        with torch.no_grad(), self._trainer.precision.autocast(is_inference=True):
            return self._model.eval().frame_features(frames)

    def _count_parameters(self) -> int:
        # weak: the garbage collector does not see through autograd's hooks
        hook = weakref.WeakMethod(self._after_gradient)
        for parameter in self._model.parameters():
            if parameter.requires_grad:
                parameter.register_post_accumulate_grad_hook(partial(_call, hook))
        self.tracker.track((*self._model.parameters(), *self._model.buffers()))
        return self.tracker.live_bytes

    def _make_buckets(self) -> dict[int, Tensor]:
        """DDP's buckets, in which gradients live from the first step on; none for one worker."""
        if self._num_workers == 1:
            return {}
        trained = [parameter for parameter in self._model.parameters() if parameter.requires_grad]
        buckets = {id(parameter): torch.empty_like(parameter) for parameter in trained}
        for bucket in buckets.values():
            self.tracker.track([bucket])
        return buckets

    def _after_gradient(self, parameter: Tensor) -> None:
        if self._gradient_buckets:
            parameter.grad = self._gradient_buckets[id(parameter)]
        self.tracker.mark_gradient(parameter)

    def _make_gradients(self) -> None:
        for parameter in self._model.parameters():
            if parameter.requires_grad:
                parameter.grad = torch.empty_like(parameter)
                self.tracker.track([parameter.grad])
                self._after_gradient(parameter)

    def _step_once_without_clips(self) -> None:
        """Let the optimizer make its state."""
        self._make_gradients()
        self._trainer.stepper.scaler.scale(torch.zeros(()))  # makes its state, too
        with self.tracker:
            self._trainer.stepper.step(torch.zeros(()))


class _NoClips:
    """A loader of one step, whose clips are never read."""

    def __iter__(self) -> Iterator[ClipBatch]:
        return iter(())

    def __len__(self) -> int:
        return 1

    def set_epoch(self, epoch: int, num_done: int = 0) -> None:
        """Nothing depends on the epoch."""


def _traced_config(training: TrainingConfig, device: DeviceType) -> TrainingConfig:
    """One micro-batch per step, in the number format that ``auto`` means on ``device``.

    With an encoder that learns, if it ever does. Mixing clips only adds a copy of the frames that
    is gone before the forward pass, and draws from clip ids, which are fake here.
    """
    freeze_epochs = training.freeze_epochs
    if freeze_epochs < training.max_epochs:
        freeze_epochs = 0
    precision = training.precision
    if precision == "auto":
        precision = ("bf16" if device.has_bf16 else "fp16") if device.is_cuda else "float32"
    return training.model_copy(
        update={
            "precision": precision,
            "batch_size": 1,
            "micro_batch_size": 1,
            "freeze_epochs": freeze_epochs,
            "mixup_alpha": 0.0,
            "cutmix_alpha": 0.0,
            "compile": False,
        }
    )


def _fake_clips(data: DataConfig, batch_size: int, num_keypoints: int) -> ClipBatch:
    shape = (batch_size, data.num_frames, 3, data.image_size, data.image_size)
    return ClipBatch(
        torch.empty(shape, dtype=torch.uint8),
        torch.empty(batch_size, dtype=torch.int64),
        torch.empty(batch_size, dtype=torch.int64),
        keypoints=torch.empty(batch_size, data.num_frames, num_keypoints, 2)
        if num_keypoints
        else None,
    )


def _call(hook: weakref.WeakMethod[Any], parameter: Tensor) -> None:
    method = hook()
    assert method is not None
    method(parameter)


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    # fake tensors are many small objects; and storages are freed at the same moment in each trace
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
