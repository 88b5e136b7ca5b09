"""Tiny models and clips for the tests of the models package."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor

from slrtune.models import VideoModel, create_model, model_class

NUM_CLASSES, NUM_FRAMES, IMAGE_SIZE = 5, 4, 32

# A new architecture needs no entry: it gets those settings that its constructor knows.
TINY: dict[str, Any] = {
    "num_classes": NUM_CLASSES,
    "num_frames": NUM_FRAMES,
    "image_size": IMAGE_SIZE,
    "pretrained": False,
    "backbone": "test_resnet",
    "embed_dim": 32,
    "depth": 2,
    "num_heads": 4,
    "patch_size": 8,
}


def tiny_model(name: str, seed: int = 0, **overrides: Any) -> VideoModel:
    """A tiny model in training mode; settings that the architecture lacks are left out."""
    torch.manual_seed(seed)
    known = inspect.signature(model_class(name)).parameters
    settings = {key: value for key, value in (TINY | overrides).items() if key in known}
    model = create_model(name, **settings)
    with torch.no_grad():
        for parameter in model.parameters():
            # Branches that start at zero (ResNet's last norms, temporal layers) would hide faults.
            parameter += 0.1 * torch.randn_like(parameter)
    return model


def tiny_clips(batch: int = 2, num_frames: int = NUM_FRAMES, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, num_frames, 3, IMAGE_SIZE, IMAGE_SIZE, generator=generator)


def last_frames_padded(*num_valid: int, num_frames: int = NUM_FRAMES) -> Tensor:
    """(B, T) mask whose first ``num_valid[b]`` frames are valid."""
    return torch.arange(num_frames) < torch.tensor(num_valid)[:, None]


def learn_once(
    model: VideoModel, frames: Tensor, frame_mask: Tensor | None = None
) -> dict[str, Tensor]:
    """Logits, gradients and buffers of one forward and backward under a fixed seed."""
    torch.manual_seed(2)
    logits = model(frames, frame_mask)
    weights = torch.linspace(-1, 2, logits.numel()).view_as(logits)
    (logits.softmax(dim=1) * weights).sum().backward()
    gradients = {f"grad {name}": p.grad for name, p in model.named_parameters()}
    assert all(gradient is not None for gradient in gradients.values())
    return {"logits": logits.detach(), **gradients, **dict(model.named_buffers())}


def assert_equal(actual: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """All tensors equal but for rounding, relative to the largest value of each."""
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        scale = value.abs().max().item() if value.numel() else 0.0
        torch.testing.assert_close(
            actual[name],
            value,
            rtol=1e-4,
            atol=1e-5 * scale + 1e-7,
            msg=lambda m, n=name: f"{n}: {m}",
        )


def assert_padding_equals_absence(model: VideoModel) -> None:
    """Clips of 2 and 3 frames, padded into one batch, have the logits that they have alone."""
    frames = tiny_clips()
    padded = model(frames, last_frames_padded(2, 3))
    alone = torch.cat((model(frames[:1, :2]), model(frames[1:, :3])))
    torch.testing.assert_close(padded, alone, rtol=1e-4, atol=1e-5)
