from __future__ import annotations

from typing import Any

import pytest
import torch

from slrtune.models.cnn_transformer import CNNTransformer
from slrtune.models.positions import resize_time_positions, sinusoidal_positions
from slrtune.models.temporal_conv import TemporalConvLayer
from tests.models.tiny import (
    assert_equal,
    assert_padding_equals_absence,
    last_frames_padded,
    learn_once,
    tiny_clips,
    tiny_model,
)

POOLINGS = ["mean", "class_token", "attention"]


def model(**settings: Any) -> CNNTransformer:
    built = tiny_model("cnn_transformer", **settings)
    assert isinstance(built, CNNTransformer)
    return built


def test_default_size_with_resnet50_is_44_million_parameters() -> None:
    with torch.device("meta"):
        full = CNNTransformer(num_classes=2000, num_frames=16, image_size=224, pretrained=False)
    resnet50, projection, positions = 23_508_032, 2048 * 512 + 512 + 2 * 512, 16 * 512
    block = 4 * (512 * 512 + 512) + (512 * 2048 + 2048) + (2048 * 512 + 512) + 4 * 512
    head = 512 * 2000 + 2000
    expected = resnet50 + projection + positions + 6 * block + 2 * 512 + head
    assert sum(p.numel() for p in full.parameters()) == expected == 44_507_664


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_padded_clip_equals_the_clip_without_its_padding(pooling: str) -> None:
    # Learned positions are interpolated, so they differ between a padded and a shorter clip.
    for layers in (0, 2):
        settings = {"position": "sinusoidal", "temporal_conv_layers": layers}
        assert_padding_equals_absence(model(pooling=pooling, **settings).eval())


@pytest.mark.parametrize("pooling", POOLINGS)
def test_every_pooling_trains_all_its_parameters(pooling: str) -> None:
    results = learn_once(model(pooling=pooling, dropout=0.0), tiny_clips())
    for key, gradient in results.items():
        # A bias before a softmax has no effect.
        if key.startswith("grad ") and key != "grad frame_score.bias":
            assert gradient.abs().sum() > 0, key


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_padded_clip_of_nothing_is_finite_for_every_pooling(pooling: str) -> None:
    results = learn_once(model(pooling=pooling), tiny_clips(), last_frames_padded(0, 3))
    assert all(value.isfinite().all() for value in results.values())


@pytest.mark.parametrize("pooling", POOLINGS)
def test_padding_is_ignored_with_convolutions_over_time(pooling: str) -> None:
    built = model(pooling=pooling, temporal_conv_layers=2).eval()
    frames, mask = tiny_clips(), last_frames_padded(1, 3)
    expected = built(frames, mask)
    frames[~mask] = float("nan")
    torch.testing.assert_close(built(frames, mask), expected)


def test_a_convolution_over_time_sees_its_neighbours_alone() -> None:
    layer = TemporalConvLayer(8, kernel_size=3, dropout=0.0)
    tokens = torch.randn(1, 9, 8)
    other = tokens.clone()
    other[:, 4] += torch.randn(8)
    changed = (layer(tokens, None) - layer(other, None)).abs().amax(dim=(0, 2)) > 1e-6
    assert changed.tolist() == [False] * 3 + [True] * 3 + [False] * 3


def test_convolutions_over_time_learn_in_a_model() -> None:
    built = model(temporal_conv_layers=1, temporal_conv_kernel_size=3, dropout=0.0)
    for key, gradient in learn_once(built, tiny_clips()).items():
        if key.startswith("grad temporal_convs"):
            assert gradient.abs().sum() > 0, key


@pytest.mark.parametrize("position", ["learned", "sinusoidal"])
def test_the_order_of_frames_matters(position: str) -> None:
    ordered = model(position=position, pooling="class_token").eval()
    frames = tiny_clips()
    assert not torch.allclose(ordered(frames), ordered(frames.flip(1)), atol=1e-6)


@pytest.mark.parametrize(
    "settings", [{"backbone": "test_vit"}, {"freeze_batch_norm": True}], ids=["ViT", "frozen"]
)
def test_recomputed_chunks_of_independent_frames_compile(settings: dict[str, Any]) -> None:
    settings |= {"frame_chunk_size": 4, "depth": 1, "dropout": 0.0}
    expected = learn_once(model(**settings), tiny_clips())
    built = model(**settings, activation_checkpointing="selective")
    built.compile(backend="eager", fullgraph=True)
    assert_equal(learn_once(built, tiny_clips()), expected)


def test_positions_keep_their_ends_in_order_when_resized() -> None:
    line = torch.arange(4.0)[None, :, None]
    resized = resize_time_positions(line, 8).flatten()
    assert torch.equal(resized.sort().values, resized)
    assert resized[0] == 0.0 and resized[-1] == 3.0


def test_sinusoidal_positions_are_those_of_the_paper() -> None:
    positions = sinusoidal_positions(num_frames=6, embed_dim=8)
    angle = torch.tensor(5 / 10_000 ** (2 / 8))
    assert positions.shape == (6, 8)
    torch.testing.assert_close(positions[5, 2:4], torch.stack((angle.sin(), angle.cos())))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pooling": "max"}, "pooling must be one of"),
        ({"temporal_conv_layers": 1, "temporal_conv_kernel_size": 4}, "must be odd, but is 4"),
        ({"activation_checkpointing": "some"}, "must be true, false or selective"),
        ({"position": "none"}, "position must be one of"),
        ({"position": "sinusoidal", "embed_dim": 33, "num_heads": 3}, "need an even embed_dim"),
    ],
)
def test_contradictions_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model(**settings)
