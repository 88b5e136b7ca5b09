from __future__ import annotations

import pytest
import torch

from slrtune.models import create_model
from slrtune.training.normalization import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    frame_layout,
    normalize_frames,
)
from slrtune.training.precision import resolve_precision

CPU = torch.device("cpu")


def test_auto_is_float32_on_cpu():
    assert resolve_precision("auto", CPU).name == "float32"


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("float32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)],
)
def test_matrix_products_run_in_the_chosen_format(name, dtype):
    with resolve_precision(name, CPU).autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


def test_only_fp16_scales_the_loss():
    assert resolve_precision("fp16", CPU).grad_scaler().is_enabled()
    assert not resolve_precision("bf16", CPU).grad_scaler().is_enabled()


def test_frames_reach_a_cnn_in_its_layout_without_a_copy(monkeypatch):
    sizes = {"image_size": 32, "num_frames": 2, "num_classes": 3}
    width = {"embed_dim": 16, "depth": 1, "num_heads": 2}
    cnn = create_model(
        "cnn_transformer", backbone="test_resnet", pretrained=False, **sizes, **width
    )
    assert frame_layout(create_model("timesformer", **sizes, **width)) == torch.contiguous_format
    frames = torch.randint(0, 255, (2, 2, 3, 32, 32), dtype=torch.uint8)
    normalized = normalize_frames(frames, frame_layout(cnn))
    seen = []
    monkeypatch.setattr(cnn.backbone.network, "forward", seen.append)
    cnn.backbone(normalized.flatten(0, 1))
    assert seen[0].is_contiguous(memory_format=torch.channels_last)
    assert seen[0].data_ptr() == normalized.data_ptr()
    assert torch.equal(normalized, normalize_frames(frames))


def test_normalized_frames_match_the_formula_channel_by_channel():
    frames = torch.arange(2 * 3 * 3 * 2 * 2, dtype=torch.uint8).view(2, 3, 3, 2, 2)
    original = frames.clone()
    normalized = normalize_frames(frames)
    for channel in range(3):
        expected = (frames[:, :, channel] / 255 - IMAGENET_MEAN[channel]) / IMAGENET_STD[channel]
        torch.testing.assert_close(normalized[:, :, channel], expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(frames, original)
