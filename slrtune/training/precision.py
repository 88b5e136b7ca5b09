"""Which number format the forward pass computes in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch.amp import GradScaler

_DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Precision:
    """A resolved number format on a kind of device. Weights and gradients stay float32."""

    name: Literal["float32", "bf16", "fp16"]
    device_type: str

    def autocast(self, *, is_inference: bool = False) -> torch.autocast:
        """The context of a forward pass; does nothing for float32.

        Autocast keeps a low-precision copy of every weight for the backward pass. Inference has
        none: there each weight is converted when it is used, and the copy is freed at once
        (torch 2.15 does so of itself under ``inference_mode``, but not under ``no_grad``).
        """
        return torch.autocast(
            self.device_type,
            dtype=_DTYPES[self.name],
            enabled=self.name != "float32",
            cache_enabled=not is_inference,
        )

    def grad_scaler(self) -> GradScaler:
        """Loss scaling: only fp16 needs it, whose gradients would underflow; else it is idle."""
        return GradScaler(self.device_type, enabled=self.name == "fp16")


def resolve_precision(
    name: Literal["auto", "float32", "bf16", "fp16"], device: torch.device
) -> Precision:
    """``auto`` is bf16 on GPUs that compute in it, fp16 on other GPUs, float32 on CPU."""
    if name != "auto":
        return Precision(name, device.type)
    if device.type != "cuda":
        return Precision("float32", device.type)
    has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    return Precision("bf16" if has_bf16 else "fp16", device.type)
