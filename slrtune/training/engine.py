"""The training loop: epochs of optimizer steps, validation, checkpoint, report."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor, nn

from slrtune.config.errors import UserError
from slrtune.config.objective import objective_of
from slrtune.config.patience import patiently
from slrtune.config.training import TrainingConfig
from slrtune.data.loader import ClipBatch
from slrtune.models.registry import VideoModel
from slrtune.training import distributed
from slrtune.training.batches import Loader, PartialEpoch, TimedIterator, micro_batch_size
from slrtune.training.checkpoint import CheckpointStore
from slrtune.training.compiling import compile_in_place, mark_batch_dynamic
from slrtune.training.freezing import EncoderFreeze
from slrtune.training.history import History, best_epoch, record_epoch
from slrtune.training.inheritance import take_over
from slrtune.training.normalization import frame_layout, model_inputs
from slrtune.training.peak_memory import PeakMemory, free_memory
from slrtune.training.precision import resolve_precision
from slrtune.training.seeding import seed_everything
from slrtune.training.stepper import Stepper
from slrtune.training.tasks import Recognition, Task

ReportFn = Callable[[dict[str, float]], bool]
"""Called on every rank with the metrics of each epoch, of which clips/s and times differ between
ranks; answers the same on all: True = go on, False = stop the trial."""


class Trainer:
    """Trains a model for the epochs, batches and steps of a :class:`TrainingConfig`."""

    def __init__(
        self,
        model: VideoModel,
        train_loader: Loader,
        val_loader: Loader,
        config: TrainingConfig,
        device: torch.device,
        checkpoints: CheckpointStore | None = None,
        memory_limit_gib: float | None = None,
        on_step: Callable[[], None] | None = None,
        task: Task | None = None,
    ) -> None:
        """
        Args:
            model: of the task's kind.
            train_loader: whole optimizer steps of :func:`micro_batch_size` clips per micro-batch.
            val_loader: this rank's share of the validation split.
            config: the recipe.
            device: where to train.
            checkpoints: where to save and to continue from; None = keep nothing.
            memory_limit_gib: see :class:`PeakMemory`.
            on_step: called after every optimizer step.
            task: what is learnt; None = recognition.
        """
        self.config, self.device, self.checkpoints = config, device, checkpoints
        self.train_loader, self.val_loader = train_loader, val_loader
        self.on_step, self.task = on_step, task or Recognition(config)
        self.objective = objective_of(config.judged_by, self.task.kind)
        self.model = model.to(device)
        self.layout = frame_layout(self.model)
        clips_per_pass = distributed.world_size() * micro_batch_size(config)
        self.num_micro_batches = config.batch_size // clips_per_pass
        self.num_steps_per_epoch = len(train_loader) // self.num_micro_batches
        self.precision = resolve_precision(config.precision, device)
        self.stepper = Stepper(self.model, config, self.precision, self.num_steps_per_epoch)
        self.freeze = EncoderFreeze(self.model, config.freeze_epochs)
        self.freeze.begin_epoch(0)
        self.trained_part = self.task.network(self.model)
        if config.compile:
            compile_in_place(self.trained_part)
        self.memory_limit_gib = memory_limit_gib
        self.network, self.memory = self._wrapped()
        self.history: History = []
        self.partial = PartialEpoch()

    def fit(self, report: ReportFn, num_told: int | None = None) -> bool:
        """Train to the end, or until ``report`` or the patience says stop.

        Continues from the last checkpoint, and then first reports again what may have died with the
        worker: the epochs from the ``num_told``-th on; None = the last one alone.

        Returns:
            Whether ``report`` stopped the trial before its end.

        Raises:
            TrainingDivergedError: too many steps in a row were not finite.
            UserError: the checkpoint cannot be continued.
            StorageError: see `save_checkpoint`.
        """
        num_done = len(self.history) if self.resume() else 0
        from_epoch = num_done if num_told is None else min(num_told, num_done)
        is_going_on = all(report(dict(past)) for past in self.history[max(from_epoch - 1, 0) :])
        while is_going_on and not self.is_finished:
            trained = self.train_epoch()
            validated = self.validate()
            self.record_epoch({**trained, **validated})
            self.save_checkpoint()
            is_going_on = report(dict(self.history[-1]))
        return not self.is_finished

    @property
    def best(self) -> dict[str, float]:
        """Metrics of the best epoch; the first one of equals."""
        return best_epoch(self.history, self.objective)

    @property
    def is_finished(self) -> bool:
        """Whether all epochs are done or the patience is at its end."""
        epoch, patience = len(self.history), self.config.patience
        if patience is not None and epoch and epoch - self.best["epoch"] >= patience:
            return True
        return epoch >= self.config.max_epochs

    def train_epoch(self) -> dict[str, float]:
        """One pass over the training split, or what is left of it."""
        epoch = self.begin_epoch()
        self.train_steps()
        done, self.partial = self.partial, PartialEpoch()
        finite_losses = [loss for loss in done.losses if math.isfinite(loss)]
        if not finite_losses:
            raise self.stepper.diverged(f"every loss of epoch {epoch + 1} was NaN or infinite")
        return {
            "train_loss": sum(finite_losses) / len(finite_losses),
            "clips_per_s": len(done.losses) * self.config.batch_size / done.train_s,
            "train_s": done.train_s,
            "data_wait_share": done.wait_s / done.train_s,
            **done.count(self.task.counts()),
        }

    def train_steps(self) -> None:
        """Optimizer steps to the end of the epoch, with checkpoints on the way if wanted."""
        done, before = self.partial, replace(self.partial)
        started_s = time.perf_counter()
        batches = TimedIterator(self.train_loader, self.device)
        while len(done.losses) < self.num_steps_per_epoch:
            done.losses.append(self.train_step(batches))
            done.train_s = before.train_s + time.perf_counter() - started_s
            done.wait_s = before.wait_s + batches.wait_s
            if self._saves_in_mid_epoch(len(done.losses)):
                self.begin_part()
                done.count(self.task.counts())
                self.save_checkpoint(is_whole_epoch=False)

    def begin_epoch(self) -> int:
        """Make everything depend on the epoch alone, and not on how the process got there."""
        epoch = len(self.history)
        self.train_loader.set_epoch(epoch, len(self.partial.losses) * self.num_micro_batches)
        self.network.train()
        if self.freeze.begin_epoch(epoch):
            self.network = self.trained_part
            free_memory()  # the old DDP wrapper with its hooks and buckets
            self.network, self.memory = self._wrapped()
        self.begin_part()
        return epoch

    def begin_part(self) -> None:
        """Make what is drawn from here on, and what a bad step falls back to, depend on the place
        alone: a trial that goes on from here must not differ from one that was never broken."""
        num_done = len(self.partial.losses)
        place = (len(self.history), distributed.rank(), *([num_done] if num_done else []))
        seed_everything(self.config.seed, *place)
        if num_done:
            distributed.average_batch_norm(self.model)  # rank 0's are kept
        self.stepper.begin_epoch()

    def _saves_in_mid_epoch(self, num_done: int) -> bool:
        every = self.config.checkpoint_every_steps
        return every is not None and num_done % every == 0 and num_done < self.num_steps_per_epoch

    def _wrapped(self) -> tuple[nn.Module, PeakMemory]:
        """For the parameters that learn now."""
        network = distributed.wrap(self.trained_part, self.device)
        return network, PeakMemory(self.model, self.device, self.memory_limit_gib)

    def train_step(self, batches: Iterator[ClipBatch]) -> float:
        """One optimizer step over ``batch_size`` clips of all ranks; returns their mean loss."""
        loss_sum = torch.zeros((), device=self.device)
        for index in range(self.num_micro_batches):
            batch = next(batches)
            targets = self.task.targets(batch, len(self.history))
            is_last = index == self.num_micro_batches - 1
            with self.memory.measuring(), distributed.accumulating(self.network, is_last=is_last):
                loss_sum += self.forward_backward(batch.to(self.device), targets)
        with self.memory.measuring():
            loss = self.stepper.step(loss_sum)
        self.memory.end_step()
        if self.on_step is not None:
            self.on_step()
        return loss

    def forward_backward(self, batch: ClipBatch, targets: Any = ()) -> Tensor:
        """Add the gradients of one micro-batch; returns the sum of its losses."""
        with self.precision.autocast():
            # in one expression: a name would keep the frames alive during the backward pass
            outputs = self.network(
                *self.task.inputs(self._marked(model_inputs(batch, self.layout)), targets)
            )
        loss_sum = self.task.loss_sum(outputs, batch, targets)
        del outputs
        # a share of the mean over the whole batch; DDP will divide by the number of ranks
        share = loss_sum * (distributed.world_size() / self.config.batch_size)
        self.stepper.backward(share)
        return loss_sum.detach()

    def validate(self) -> dict[str, float]:
        """The task's figures of the whole validation split."""
        self._free_memory()
        distributed.average_batch_norm(self.model)
        with self.stepper.judged_weights():
            if self.stepper.average is not None:
                distributed.average_batch_norm(self.model)
            validated = self._validate()
        self._free_memory()
        return validated

    @torch.inference_mode()
    def _validate(self) -> dict[str, float]:
        self.trained_part.eval()
        started_s = time.perf_counter()
        judge = self.task.judge(self.device)
        for batch in self.val_loader:
            on_device = batch.to(self.device)
            with self.precision.autocast(is_inference=True):
                frames = self._marked(model_inputs(on_device, self.layout))
                outputs = judge.look(self.trained_part, frames, batch)
            judge.count(outputs, on_device)
        return {**judge.compute(), "val_s": time.perf_counter() - started_s}

    def _marked(self, inputs: Tensor) -> Tensor:
        return mark_batch_dynamic(inputs) if self.config.compile else inputs

    def _free_memory(self) -> None:
        if self.config.empty_cache_each_epoch:
            free_memory()

    def record_epoch(self, measured: dict[str, float]) -> None:
        """Add the metrics of a finished epoch to the history."""
        peaks_gib = {
            "peak_memory_gib": self.memory.peak_gib,
            "peak_reserved_gib": self.memory.peak_reserved_gib,
        }
        over_ranks = {
            name: distributed.max_over_ranks(gib, self.device) for name, gib in peaks_gib.items()
        }
        metrics = {
            **measured,
            **over_ranks,
            "learning_rate": self.stepper.learning_rate,
            "num_skipped_steps": self.stepper.num_skipped_steps,
        }
        record_epoch(self.history, metrics, self.objective, self.task.headline)

    def save_checkpoint(self, *, is_whole_epoch: bool = True) -> None:
        """Rank 0 saves; ``best.pt`` first: after a crash between the two, the epoch is redone.

        Raises:
            StorageError: the folder was away or full for ``resources.storage_patience_s``.
        """
        store = self.checkpoints
        if store is not None:

            def save() -> None:
                self._save(is_whole_epoch)

            distributed.from_rank_zero(patiently, save, store.last, store.patience_s)

    def _save(self, is_whole_epoch: bool) -> None:
        assert self.checkpoints is not None
        if is_whole_epoch and self.best is self.history[-1]:
            with self.stepper.judged_weights():
                self.checkpoints.save_best(self.model.state_dict(), self.best)
            self.task.exhibit()
        self.checkpoints.save_last(
            {
                "model": self.model.state_dict(),
                "stepper": self.stepper.state_dict(),
                "history": self.history,
                "partial_epoch": asdict(self.partial),
            }
        )

    def resume(self) -> bool:
        """Take up the last checkpoint, if there is one; whether there is a finished epoch."""
        if self.checkpoints is None:
            return False
        store = self.checkpoints

        def load() -> dict[str, Any] | None:
            if distributed.rank() == 0:
                take_over(store)
            return store.load_last()

        state = distributed.rank_zero_first(lambda: patiently(load, store.last, store.patience_s))
        self._check_ranks_agree(state)
        if state is None:
            return False
        self.model.load_state_dict(state["model"])
        self.stepper.load_state_dict(state["stepper"])
        self.history = state["history"]
        self.partial = PartialEpoch(**state.get("partial_epoch", {}))
        return bool(self.history)

    def _check_ranks_agree(self, state: dict[str, Any] | None) -> None:
        num_steps = state["stepper"]["num_steps"] if state is not None else 0
        if distributed.from_rank_zero(int, num_steps) != num_steps:
            assert self.checkpoints is not None
            raise UserError(
                f"all workers of a trial must see the same checkpoints, but rank "
                f"{distributed.rank()} does not see rank 0's {self.checkpoints.last}; "
                "set runs_dir to storage that all machines share"
            )
