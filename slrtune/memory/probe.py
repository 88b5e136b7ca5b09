"""A few real training steps on random clips: what they take, in memory and in time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch.utils._pytree import tree_leaves

from slrtune.config.experiment import Experiment
from slrtune.data.loader import ClipBatch
from slrtune.memory.micro_batch import clips_per_worker, with_micro_batch
from slrtune.training.construction import OutputSizes, build_model
from slrtune.training.engine import Trainer
from slrtune.training.lesson import task_without_data
from slrtune.training.normalization import normalize_frames
from slrtune.training.peak_memory import PeakMemory


@dataclass(frozen=True)
class Probe:
    """What was measured of one worker.

    Attributes:
        peak_gib: ``peak_memory_gib`` of training.
        inference_peak_gib: the same of a forward pass of one clip.
        step_s: seconds of the last optimizer step, data loading left out.
        inference_s: seconds of the forward pass of that one clip.
    """

    peak_gib: float
    inference_peak_gib: float
    step_s: float
    inference_s: float


def probe(
    experiment: Experiment, device: torch.device, *, sizes: OutputSizes, num_steps: int = 2
) -> Probe:
    """Train ``num_steps`` optimizer steps on random clips, then look at one clip.

    The global random generator is left as it was. Weights are random, whatever ``pretrained`` says.

    Args:
        num_steps: the first makes the optimizer's state and compiles kernels: two or more.

    Raises:
        torch.OutOfMemoryError: the steps do not fit.
    """
    size = clips_per_worker(experiment, num_workers=1)
    num_micro_batches = experiment.training.batch_size // size
    config = with_micro_batch(experiment, size).training
    with torch.random.fork_rng():
        model = build_model(experiment, sizes, is_pretrained=False)
        loader = _RandomClips(experiment, size, num_micro_batches, sizes)
        task = task_without_data(experiment, sizes)
        trainer = Trainer(model, loader, loader, config, device, task=task)
        trainer.network.train()
        for _ in range(num_steps):
            clips = iter(loader)
            started_s = time.perf_counter()
            trainer.train_step(clips)
            step_s = time.perf_counter() - started_s
        peak_gib = trainer.memory.peak_gib
        model, precision = trainer.model.eval(), trainer.precision
        del trainer  # gradients, optimizer state
        memory = PeakMemory(model, device)
        with torch.inference_mode(), memory.measuring(), precision.autocast(is_inference=True):
            clip = next(iter(_RandomClips(experiment, 1, 1, sizes))).to(device)
            started_s = time.perf_counter()
            outputs = model(
                *task.inputs(
                    normalize_frames(clip.frames), task.targets(clip, config.max_epochs - 1)
                )
            )
            tree_leaves(outputs)[0].cpu()  # waits for the GPU
            inference_s = time.perf_counter() - started_s
        return Probe(peak_gib, memory.peak_gib, step_s, inference_s)


class _RandomClips:
    def __init__(self, experiment: Experiment, size: int, length: int, sizes: OutputSizes) -> None:
        data = experiment.data
        self._shape = (size, data.num_frames, 3, data.image_size, data.image_size)
        self._length, self._num_labels = length, max(sizes.num_glosses, 1)
        self._points = (size, data.num_frames, sizes.num_keypoints, 2)

    def __len__(self) -> int:
        return self._length

    def set_epoch(self, epoch: int, num_done: int = 0) -> None:
        """All epochs are alike."""

    def __iter__(self) -> Iterator[ClipBatch]:
        size = self._shape[0]
        for _ in range(self._length):
            frames = torch.randint(0, 256, self._shape, dtype=torch.uint8)
            labels = torch.randint(0, self._num_labels, (size,))
            points = torch.rand(self._points) if self._points[2] else None
            yield ClipBatch(frames, labels, torch.arange(size), keypoints=points)
