"""From accumulated gradients to weights: unscale, clip, check, step or skip."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from slrtune.config.training import TrainingConfig
from slrtune.models.registry import VideoModel
from slrtune.training import distributed
from slrtune.training.ema import WeightAverage
from slrtune.training.optimizer import (
    OWN_SETTINGS,
    build_optimizer,
    learning_rate_ratio,
    set_learning_rates,
)
from slrtune.training.precision import Precision


class TrainingDivergedError(Exception):
    """Losses or gradients were NaN or infinite for too long; the settings are at fault."""


class Stepper:
    """Updates the weights of a model once per batch, and counts.

    Attributes:
        num_steps: optimizer steps so far, skipped ones included.
        num_skipped_steps: of these, left out because loss or gradients were not finite.
        average: moving average of the weights, which skipped steps leave alone; None without.
    """

    def __init__(
        self,
        model: VideoModel,
        config: TrainingConfig,
        precision: Precision,
        num_steps_per_epoch: int,
    ) -> None:
        self._model, self._config, self._precision = model, config, precision
        self._num_steps_per_epoch = num_steps_per_epoch
        self.optimizer = build_optimizer(model, config)
        self.average = WeightAverage(model, config.ema_decay) if config.ema_decay else None
        self.scaler = precision.grad_scaler()
        self.num_steps = 0
        self.num_skipped_steps = 0
        self._num_skipped_in_a_row = 0
        self.begin_epoch()

    @property
    def learning_rate(self) -> float:
        """Of the head, at the last step."""
        return self._config.learning_rate * self._learning_rate_ratio(self.num_steps - 1)

    def begin_epoch(self) -> None:
        """Remember BatchNorm's statistics: a step can be skipped, but has spoilt them already."""
        self._sound_buffers = [buffer.clone() for buffer in self._model.buffers()]

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of ``loss``, a share of the mean over the batch."""
        self.scaler.scale(loss).backward()

    def step(self, loss_sum: Tensor) -> float:
        """Update the weights, unless loss or gradients are not finite on any rank.

        Args:
            loss_sum: of this rank's clips of the batch.

        Returns:
            Mean loss over the batch, on all ranks.

        Raises:
            TrainingDivergedError: ``max_nonfinite_steps`` steps in a row were skipped.
        """
        set_learning_rates(self.optimizer, self._learning_rate_ratio(self.num_steps))
        # unscale before clipping: the norm must be in true gradient units
        self.scaler.unscale_(self.optimizer)
        norm = self._clip_gradients()
        # the only wait for the device in a step; the sum makes every rank decide the same
        sums = distributed.sum_over_ranks(torch.stack((loss_sum.double(), norm.double()))).tolist()
        self.num_steps += 1
        if all(map(math.isfinite, sums)):
            self.scaler.step(self.optimizer)
            self._num_skipped_in_a_row = 0
            if self.average is not None:
                self.average.update()
        else:
            self._skip()
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        return float(sums[0]) / self._config.batch_size

    def _clip_gradients(self) -> Tensor:
        """Norm of all gradients before clipping."""
        parameters = [p for p in self._model.parameters() if p.grad is not None]
        norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        if self._config.max_grad_norm is not None:
            nn.utils.clip_grads_with_norm_(parameters, self._config.max_grad_norm, norm)
        return norm

    @torch.no_grad()
    def _skip(self) -> None:
        for buffer, sound in zip(self._model.buffers(), self._sound_buffers, strict=True):
            if not buffer.isfinite().all():
                buffer.copy_(sound)
        self.num_skipped_steps += 1
        self._num_skipped_in_a_row += 1
        if self._num_skipped_in_a_row >= self._config.max_nonfinite_steps:
            raise self.diverged(
                f"{self._num_skipped_in_a_row} optimizer steps in a row, up to step "
                f"{self.num_steps}, had a NaN or infinite loss or gradient"
            )

    def diverged(self, what: str) -> TrainingDivergedError:
        """The error that says ``what`` happened, under which settings, and the cure."""
        return TrainingDivergedError(
            f"training diverged: {what} (learning_rate {self._config.learning_rate:g}, precision "
            f"{self._precision.name}); lower training.learning_rate, lengthen "
            "training.warmup_epochs, or set training.precision to float32"
        )

    def _learning_rate_ratio(self, step: int) -> float:
        return learning_rate_ratio(
            step,
            num_warmup_steps=round(self._config.warmup_epochs * self._num_steps_per_epoch),
            num_steps=self._config.max_epochs * self._num_steps_per_epoch,
            min_ratio=self._config.min_learning_rate_ratio,
        )

    def judged_weights(self) -> AbstractContextManager[None]:
        """While active, the model holds the weights to validate and to keep."""
        return self.average.applied() if self.average is not None else nullcontext()

    def state_dict(self) -> dict[str, Any]:
        """All that continuing needs."""
        return {
            "average": self.average.state_dict() if self.average is not None else None,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "num_steps": self.num_steps,
            "num_skipped_steps": self.num_skipped_steps,
            "num_skipped_in_a_row": self._num_skipped_in_a_row,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`, if need be on another device or in another precision."""
        own = [
            {name: group[name] for name in OWN_SETTINGS} for group in self.optimizer.param_groups
        ]
        self.optimizer.load_state_dict(state["optimizer"])
        # Settings are the trial's: weights that it took over may have learnt with others.
        for group, settings in zip(self.optimizer.param_groups, own, strict=True):
            group.update(settings)
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        if self.scaler.is_enabled() and state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])
        self.num_steps = state["num_steps"]
        self.num_skipped_steps = state["num_skipped_steps"]
        self._num_skipped_in_a_row = state["num_skipped_in_a_row"]
