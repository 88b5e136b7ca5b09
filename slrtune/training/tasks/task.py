"""The contract between the training loop and what is learnt."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from slrtune.config import objective
from slrtune.data.loader import ClipBatch
from slrtune.models.registry import VideoModel


class Judge(ABC):
    """Looks at every batch of a validation pass once, and knows the figures at its end."""

    @abstractmethod
    def look(self, network: nn.Module, frames: Tensor, batch: ClipBatch) -> Any:
        """What the network makes of a batch; called under autocast, without gradients.

        Args:
            frames: the network's input, on the device.
            batch: the same clips.
        """

    @abstractmethod
    def count(self, outputs: Any, batch: ClipBatch) -> None:
        """Add what :meth:`look` gave; called outside autocast."""

    @abstractmethod
    def compute(self) -> dict[str, float]:
        """The figures over the clips of all ranks, by name (``val_...``); the same on every one."""


class Task(ABC):
    """Turns batches into inputs, targets and losses; holds nothing that learns.

    Attributes:
        kind: the models that it is for.
        headline: figures of the best epoch that every report repeats as ``best_<name>``.
    """

    kind: ClassVar[objective.Task]
    headline: ClassVar[tuple[str, ...]]

    def network(self, model: VideoModel) -> nn.Module:
        """What the loop calls and trains: the model, or a part of it."""
        return model

    @abstractmethod
    def targets(self, batch: ClipBatch, epoch: int) -> Any:
        """What a training micro-batch needs beside its clips; drawn by (seed, epoch, clip id).

        Args:
            batch: with its clip ids on the CPU: else this waits for the device.
            epoch: 0-based.
        """

    @abstractmethod
    def inputs(self, frames: Tensor, targets: Any) -> tuple[Tensor | None, ...]:
        """The network's arguments.

        Args:
            frames: normalised (B, T, C, H, W), or features; may be changed in place.
            targets: of :meth:`targets`, on the CPU.
        """

    @abstractmethod
    def loss_sum(self, outputs: Any, batch: ClipBatch, targets: Any) -> Tensor:
        """Sum of the clips' losses, float32 (), outside autocast."""

    @abstractmethod
    def judge(self, device: torch.device) -> Judge:
        """For one pass over the validation split."""

    def counts(self) -> dict[str, float]:
        """What the task counted since it was last asked, over all ranks; reported with the epoch,
        whose parts are added up."""
        return {}

    def exhibit(self) -> None:  # noqa: B027 - most tasks have nothing to show
        """Rank 0, after a validation that was the best so far: leave something to look at."""
