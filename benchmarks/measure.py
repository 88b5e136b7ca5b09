"""Side by side in one process: seconds of a step in turn, and the peak memory of one step."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from slrtune.training.peak_memory import StorageTracker

_BYTES_PER_GIB = 2**30


@dataclass(frozen=True)
class StepCost:
    """What one step of a contender costs.

    Attributes:
        step_s: median seconds.
        step_cpu_s: median CPU seconds of all threads; what else runs on the machine is not in it.
        activation_gib: highest memory of a step beyond what lasts (weights, optimizer state,
            batch): activations, and those gradients that exist at that moment.
        peak_gib: highest memory of a step, everything included.
    """

    step_s: float
    step_cpu_s: float
    activation_gib: float
    peak_gib: float


@dataclass
class TrainingStep:
    """Forward, backward and AdamW on one fixed batch.

    Attributes:
        model: (B, T, C, H, W) to logits (B, G).
        frames: normalised floats.
        labels: int64 (B,).
        is_amp: bfloat16 autocast.
    """

    model: nn.Module
    frames: Tensor
    labels: Tensor
    is_amp: bool = False

    def __post_init__(self) -> None:
        self.model.train()
        self._optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-5, fused=True)

    def __call__(self) -> None:
        device_type = self.frames.device.type
        with torch.autocast(device_type, torch.bfloat16, enabled=self.is_amp):
            logits = self.model(self.frames)
        nn.functional.cross_entropy(logits.float(), self.labels).backward()
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)

    def lasting(self) -> list[Tensor]:
        """Tensors that are there before and after a step."""
        state = [
            value
            for values in self._optimizer.state.values()
            for value in values.values()
            if isinstance(value, Tensor)
        ]
        return [*self.model.parameters(), *self.model.buffers(), *state, self.frames, self.labels]


def compare(steps: Mapping[str, TrainingStep], num_rounds: int) -> dict[str, StepCost]:
    """Costs of each contender: ``num_rounds`` rounds in which each takes one step, in turn.

    A first step of each warms up (and creates the optimizer's state), a second is measured for
    memory.
    """
    memory = {}
    for name, step in steps.items():
        step()
        memory[name] = peak_gib_of(step, step.lasting(), step.frames.device)
    device = next(iter(steps.values())).frames.device
    times = take_turns(steps, num_rounds, device)
    return {
        name: StepCost(
            statistics.median(wall_s for wall_s, _ in times[name]),
            statistics.median(cpu_s for _, cpu_s in times[name]),
            *memory[name],
        )
        for name in steps
    }


def take_turns(
    actions: Mapping[str, Callable[[], object]], num_rounds: int, device: torch.device
) -> dict[str, list[tuple[float, float]]]:
    """Seconds and CPU seconds of each action in each round: other load meets all alike."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in actions}
    for _ in range(num_rounds):
        for name, action in actions.items():
            gc.collect()
            _wait_for(device)
            started_s, started_cpu_s = time.perf_counter(), time.process_time()
            action()
            _wait_for(device)
            times[name].append(
                (time.perf_counter() - started_s, time.process_time() - started_cpu_s)
            )
    return times


def peak_gib_of(
    action: Callable[[], object], lasting: list[Tensor], device: torch.device
) -> tuple[float, float]:
    """Highest memory while ``action`` runs: beyond ``lasting`` tensors, and with them."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        action()
        torch.cuda.synchronize(device)
        peak = torch.cuda.max_memory_allocated(device)
    else:
        tracker = StorageTracker()
        tracker.track(lasting)
        before = tracker.live_bytes
        with tracker:
            action()
        peak = tracker.peak_bytes
    return (peak - before) / _BYTES_PER_GIB, peak / _BYTES_PER_GIB


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
