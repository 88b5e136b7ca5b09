"""GPU types by name: how much memory they have, and what PyTorch takes of it for itself."""

from __future__ import annotations

import re
from dataclasses import dataclass

from slrtune.config.errors import UserError

_MIB = 2**20


@dataclass(frozen=True)
class DeviceType:
    """What the prediction must know of a device.

    Attributes:
        name: key of the table, of calibration files and of messages.
        total_gib: memory that the driver shows; infinite for the CPU.
        context_gib: taken by the CUDA context and the loaded kernels, outside PyTorch's allocator.
        has_bf16: tensor cores compute in bf16, so ``precision: auto`` is bf16 and not fp16.
        has_flash_attention: FlashAttention runs (compute capability 8.0 and newer).
        blas_workspace_bytes: kept by cuBLAS for the whole trial (``CUBLAS_WORKSPACE_CONFIG``).
        fragmentation: share of the allocated memory that the caching allocator reserves on top,
            for blocks that do not fit into the holes that others left.
    """

    name: str
    total_gib: float
    context_gib: float = 0.45
    has_bf16: bool = True
    has_flash_attention: bool = True
    blas_workspace_bytes: int = 8 * _MIB + 128 * 1024
    fragmentation: float = 0.06

    @property
    def is_cuda(self) -> bool:
        """Whether it is a GPU."""
        return self.name != "cpu"


_HOPPER_WORKSPACE = 32 * _MIB

CPU = DeviceType("cpu", float("inf"), 0.0, blas_workspace_bytes=0, fragmentation=0.0)
_CUDA = DeviceType("cuda", float("inf"))
_TABLE = (
    CPU,
    _CUDA,
    DeviceType("T4", 14.6, 0.35, has_bf16=False, has_flash_attention=False),
    DeviceType("V100-16GB", 15.8, 0.4, has_bf16=False, has_flash_attention=False),
    DeviceType("V100-32GB", 31.7, 0.4, has_bf16=False, has_flash_attention=False),
    DeviceType("RTX 2080 Ti", 10.7, 0.35, has_bf16=False, has_flash_attention=False),
    DeviceType("RTX 3060", 11.6),
    DeviceType("RTX 3090", 23.6),
    DeviceType("RTX 4070", 11.6),
    DeviceType("RTX 4080", 15.6),
    DeviceType("RTX 4090", 23.5),
    DeviceType("RTX 5090", 31.3, 0.55),
    DeviceType("RTX A5000", 23.6),
    DeviceType("RTX A6000", 47.4),
    DeviceType("A10", 22.0),
    DeviceType("L4", 22.0),
    DeviceType("L40S", 44.4),
    DeviceType("A40", 44.4),
    DeviceType("A100-40GB", 39.4, 0.5),
    DeviceType("A100-80GB", 79.1, 0.5),
    DeviceType("H100", 79.1, 0.6, blas_workspace_bytes=_HOPPER_WORKSPACE),
    DeviceType("H200", 139.8, 0.6, blas_workspace_bytes=_HOPPER_WORKSPACE),
    DeviceType("B200", 178.0, 0.7, blas_workspace_bytes=_HOPPER_WORKSPACE),
)


def device_type(name: str) -> DeviceType:
    """The device called ``name``: ``cpu``, ``cuda`` (any recent GPU), or a GPU type such as H100.

    Also takes the driver's full names (``NVIDIA A100-SXM4-80GB``).

    Raises:
        UserError: no such device is known.
    """
    wanted = _words(name)
    # the longest name first: "A100-80GB" and not "A10" is what an A100 is
    for device in sorted(_TABLE, key=lambda device: -len(device.name)):
        if _words(device.name) <= wanted:
            return device
    raise UserError(
        f"device must be one of {', '.join(device.name for device in _TABLE)}, but is {name!r}; "
        "use cuda for another recent GPU"
    )


def _words(name: str) -> frozenset[str]:
    return frozenset(re.findall(r"[a-z0-9]+", name.lower()))


def this_device(index: int | None = None) -> DeviceType:
    """The device that this process trains on: its current GPU, or the CPU where there is none."""
    import torch

    if not torch.cuda.is_available():
        return CPU
    properties = torch.cuda.get_device_properties(
        torch.cuda.current_device() if index is None else index
    )
    total_gib = properties.total_memory / 2**30
    try:
        known = device_type(properties.name)
    except UserError:
        known = _CUDA
    if known.total_gib == float("inf"):
        capability = (properties.major, properties.minor)
        return DeviceType(
            properties.name,
            total_gib,
            has_bf16=capability >= (8, 0),
            has_flash_attention=capability >= (8, 0),
            blas_workspace_bytes=(
                _HOPPER_WORKSPACE if capability >= (9, 0) else _CUDA.blas_workspace_bytes
            ),
        )
    return known
