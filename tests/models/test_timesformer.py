from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from slrtune.config.errors import UserError
from slrtune.models.positions import resize_patch_positions
from slrtune.models.timesformer import TimeSformer
from slrtune.models.timesformer_weights import load_timesformer_weights
from tests.models.tiny import (
    assert_padding_equals_absence,
    last_frames_padded,
    tiny_clips,
    tiny_model,
)

ATTENTION_TYPES = ["divided_space_time", "joint_space_time", "space_only"]

# The parameters of transformers' TimesformerForVideoClassification (hidden_size=8,
# num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, image_size=8, patch_size=4,
# num_frames=3, num_labels=3) and, with weights noise(shape, rank in sorted names), its logits for
# the clips noise((2, 3, 3, 8, 8), 99), recorded from transformers 5.23.
HF_CONFIG = {
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": 8,
    "patch_size": 4,
    "num_frames": 3,
}
HF_LAYER_SHAPES = {
    "attention.attention.qkv": (24, 8),
    "attention.output.dense": (8, 8),
    "intermediate.dense": (32, 8),
    "output.dense": (8, 32),
    "layernorm_before": (8,),
    "layernorm_after": (8,),
    "temporal_layernorm": (8,),
    "temporal_attention.attention.qkv": (24, 8),
    "temporal_attention.output.dense": (8, 8),
    "temporal_dense": (8, 8),
}
HF_LOGITS = torch.tensor(
    [
        [-1.4108084440231323, 2.4378929138183594, -1.8843193054199219],
        [-1.4242018461227417, 2.4422595500946045, -1.8930277824401855],
    ]
)


def noise(shape: tuple[int, ...], salt: int) -> Tensor:
    """Numbers in [-1, 1) that need no random generator, whose stream may change with torch."""
    index = torch.arange(torch.Size(shape).numel(), dtype=torch.float64)
    hashed = torch.sin(index * 12.9898 + salt * 78.233) * 43758.5453
    return ((hashed - hashed.floor()) * 2 - 1).float().view(shape)


def hf_shapes() -> dict[str, tuple[int, ...]]:
    matrices = {
        f"timesformer.encoder.layer.{layer}.{name}": shape
        for layer in range(2)
        for name, shape in HF_LAYER_SHAPES.items()
    }
    matrices["timesformer.embeddings.patch_embeddings.projection"] = (8, 3, 4, 4)
    matrices |= {"timesformer.layernorm": (8,), "classifier": (3, 8)}
    return (
        {f"{name}.weight": shape for name, shape in matrices.items()}
        | {f"{name}.bias": shape[:1] for name, shape in matrices.items()}
        | {
            "timesformer.embeddings.cls_token": (1, 1, 8),
            "timesformer.embeddings.position_embeddings": (1, 5, 8),
            "timesformer.embeddings.time_embeddings": (1, 3, 8),
        }
    )


def hf_rank(name: str) -> int:
    return sorted(hf_shapes()).index(f"timesformer.{name}")


@pytest.fixture
def hf_folder(tmp_path: Path) -> Path:
    """A model as transformers' ``save_pretrained`` writes it."""
    weights = {
        name: noise(shape, rank) for rank, (name, shape) in enumerate(sorted(hf_shapes().items()))
    }
    save_file(weights, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(HF_CONFIG))
    return tmp_path


def hf_sized_model(**overrides: Any) -> TimeSformer:
    settings: dict[str, Any] = {
        "num_classes": 3,
        "num_frames": 3,
        "image_size": 8,
        "patch_size": 4,
        "embed_dim": 8,
        "depth": 2,
        "num_heads": 2,
    }
    return TimeSformer(**settings | overrides)


def model(**settings: Any) -> TimeSformer:
    built = tiny_model("timesformer", **settings)
    assert isinstance(built, TimeSformer)
    return built


def test_logits_with_hugging_face_weights_are_those_of_transformers(hf_folder: Path) -> None:
    loaded = hf_sized_model().eval()
    load_timesformer_weights(loaded, str(hf_folder), load_head=True)
    torch.testing.assert_close(loaded(noise((2, 3, 3, 8, 8), 99)), HF_LOGITS, rtol=0, atol=1e-5)


def test_pretrained_weights_leave_the_head_of_other_glosses_alone(hf_folder: Path) -> None:
    loaded = hf_sized_model(num_classes=7, pretrained=str(hf_folder))
    assert loaded.head.weight.shape == (7, 8)
    assert torch.equal(loaded.class_token, noise((1, 1, 8), hf_rank("embeddings.cls_token")))


def test_a_weights_file_alone_or_a_pickled_one_will_do(hf_folder: Path) -> None:
    torch.save(load_file(hf_folder / "model.safetensors"), hf_folder / "pytorch_model.bin")
    (hf_folder / "model.safetensors").rename(hf_folder / "alone.safetensors")
    from_folder = hf_sized_model(pretrained=str(hf_folder))
    (hf_folder / "config.json").unlink()
    from_file = hf_sized_model(pretrained=str(hf_folder / "alone.safetensors"))
    assert torch.equal(from_folder.class_token, from_file.class_token)
    assert torch.equal(from_folder.blocks[1].mlp.fc2.weight, from_file.blocks[1].mlp.fc2.weight)


def test_positions_are_resized_to_larger_images_and_longer_clips(hf_folder: Path) -> None:
    loaded = hf_sized_model(pretrained=str(hf_folder), image_size=16, num_frames=6)
    assert loaded.position_embedding.shape == (1, 17, 8)
    ours = loaded.position_embedding[:, 0]
    assert torch.equal(ours, noise((1, 5, 8), hf_rank("embeddings.position_embeddings"))[:, 0])
    assert loaded(torch.randn(1, 6, 3, 16, 16)).isfinite().all()


def test_another_architecture_is_refused_with_the_settings_to_change(hf_folder: Path) -> None:
    with pytest.raises(UserError, match=r"set depth: 2 \(not 3\), num_heads: 2 \(not 4\)$"):
        hf_sized_model(pretrained=str(hf_folder), depth=3, num_heads=4)


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"must hold config\.json and model\.safetensors or"):
        hf_sized_model(pretrained=str(tmp_path))


@pytest.mark.parametrize("source", ["./nowhere/model", "weights/k400.safetensors", "k400"])
def test_what_is_neither_path_nor_hub_name_is_refused(source: str) -> None:
    with pytest.raises(UserError, match="is neither a file, a folder, a hub name"):
        hf_sized_model(pretrained=source)


@pytest.mark.parametrize("pretrained", [True, "facebook/timesformer-base-finetuned-k400"])
def test_hub_weights_out_of_reach_name_the_cures(offline_hub: Path, pretrained: bool | str) -> None:
    with pytest.raises(UserError, match=r"timesformer-base-finetuned-k400.*pretrained: false"):
        hf_sized_model(pretrained=pretrained)


def test_default_size_is_121_million_parameters() -> None:
    with torch.device("meta"):
        base = TimeSformer(num_classes=400, num_frames=8, image_size=224)
    # The same number as transformers' TimesformerForVideoClassification at its defaults.
    assert sum(p.numel() for p in base.parameters()) == 121_566_352


@pytest.mark.parametrize("attention_type", ATTENTION_TYPES)
def test_every_attention_type_ignores_padding(attention_type: str) -> None:
    built = model(attention_type=attention_type).eval()
    frames, mask = tiny_clips(), last_frames_padded(2, 4)
    expected = built(frames, mask)
    frames[0, 2:] = float("nan")
    torch.testing.assert_close(built(frames, mask), expected)


@pytest.mark.parametrize("attention_type", ATTENTION_TYPES)
def test_a_padded_clip_equals_the_clip_without_its_padding(attention_type: str) -> None:
    built = model(attention_type=attention_type).eval()
    if built.time_embedding is not None:
        # Otherwise a shorter clip has other positions.
        torch.nn.init.zeros_(built.time_embedding)
    assert_padding_equals_absence(built)


def test_only_space_only_is_blind_to_the_order_of_frames() -> None:
    for attention_type in ATTENTION_TYPES:
        built, frames = model(attention_type=attention_type).eval(), tiny_clips()
        same = torch.allclose(built(frames), built(frames.flip(1)), atol=1e-5)
        assert same == (attention_type == "space_only"), attention_type


def test_blocks_after_the_first_start_without_time() -> None:
    first, second = hf_sized_model().blocks
    assert first.temporal_fc.weight.abs().sum() > 0
    assert second.temporal_fc.weight.abs().sum() == 0
    assert second.temporal_fc.bias.abs().sum() == 0


def test_images_of_another_size_and_shape_are_accepted() -> None:
    assert model()(torch.randn(1, 4, 3, 48, 40)).shape == (1, 5)


def test_patch_positions_keep_rows_and_columns_when_resized() -> None:
    rows = torch.arange(4.0).repeat_interleave(4)[None, :, None]
    resized = resize_patch_positions(torch.cat((torch.full((1, 1, 1), 9.0), rows), dim=1), 8, 6)
    assert resized[0, 0] == 9.0
    grid = resized[0, 1:, 0].view(8, 6)
    assert torch.allclose(grid, grid[:, :1].expand(-1, 6), atol=1e-6)
    assert (grid.diff(dim=0) > 0).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_size": 30}, "image_size must be divisible by patch_size, but 30 % 8 = 6"),
        ({"attention_type": "time_only"}, "attention_type must be one of"),
    ],
)
def test_contradictions_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model(**settings)


def test_frames_that_the_patches_do_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match="but 36 % 8 = 4"):
        model()(torch.randn(1, 4, 3, 36, 32))
