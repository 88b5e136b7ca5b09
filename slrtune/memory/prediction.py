"""What a prediction says."""

from __future__ import annotations

from dataclasses import dataclass

from slrtune.memory.devices import DeviceType
from slrtune.memory.series import StepBytes

_BYTES_PER_GIB = 2**30
_OUTSIDE_ALLOCATOR = ("cuda_context", "fragmentation")


@dataclass(frozen=True)
class MemoryPrediction:
    """Memory of one worker of a trial, in GiB.

    Attributes:
        device: name of the device type.
        micro_batch_size: clips per forward-backward on one worker.
        parts: of training, at its worst moment: ``parameters`` (weights and buffers),
            ``gradients``, ``optimizer_state`` (and other copies of the weights), ``activations``
            (the batch and cast weights too), ``workspace`` (within kernels, cuBLAS), and on a GPU
            ``calibration`` (what finished trials on that type taught; may be negative),
            ``cuda_context`` and ``fragmentation``.
        inference_parts: the same of a forward pass of one clip.
    """

    device: str
    micro_batch_size: int
    parts: dict[str, float]
    inference_parts: dict[str, float]

    @property
    def train_peak_gib(self) -> float:
        """What the GPU must have free for training; on the CPU, the peak of tensors."""
        return sum(self.parts.values())

    @property
    def inference_peak_gib(self) -> float:
        """What the GPU must have free for inference."""
        return sum(self.inference_parts.values())

    @property
    def train_allocated_gib(self) -> float:
        """What ``torch.cuda.max_memory_allocated`` will say of training: ``peak_memory_gib``."""
        return allocated_gib(self.parts)

    @property
    def inference_allocated_gib(self) -> float:
        """What ``torch.cuda.max_memory_allocated`` will say of inference."""
        return allocated_gib(self.inference_parts)


def allocated_gib(parts: dict[str, float]) -> float:
    """Sum of the parts that PyTorch's allocator hands out."""
    return sum(gib for name, gib in parts.items() if name not in _OUTSIDE_ALLOCATOR)


def parts_of(step: StepBytes, device: DeviceType, scale: float) -> dict[str, float]:
    """Name the parts of a step's worst moment, in GiB.

    Args:
        scale: measured over predicted, of finished trials.
    """
    parts = {
        "parameters": step.parameters,
        "gradients": step.gradients,
        "optimizer_state": step.persistent - step.parameters,
        "activations": step.peak - step.persistent - step.gradients - step.workspace,
        "workspace": step.workspace + device.blas_workspace_bytes,
    }
    parts = {name: num_bytes / _BYTES_PER_GIB for name, num_bytes in parts.items()}
    parts["calibration"] = (scale - 1.0) * sum(parts.values())
    if device.is_cuda:
        parts["cuda_context"] = device.context_gib
        parts["fragmentation"] = device.fragmentation * allocated_gib(parts)
    return parts
