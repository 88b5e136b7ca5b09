"""TimeSformer against the libraries whose weights it loads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from slrtune.config.errors import UserError
from slrtune.models.timesformer import TimeSformer
from slrtune.models.timesformer_weights import load_timesformer_weights

ATTENTION_TYPES = ["divided_space_time", "joint_space_time", "space_only"]
SIZES: dict[str, Any] = {"num_classes": 5, "embed_dim": 32, "depth": 3, "num_heads": 4}


def clips(num_frames: int = 4, size: int = 32) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(2, num_frames, 3, size, size, generator=generator)


def time_sformer(**overrides: Any) -> TimeSformer:
    settings = {"num_frames": 4, "image_size": 32, "patch_size": 8}
    return TimeSformer(**SIZES | settings | overrides).eval()


def randomized(network: torch.nn.Module) -> torch.nn.Module:
    """Nothing at zero or one, where a layer that is not loaded would go unnoticed."""
    torch.manual_seed(4)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return network.eval()


@pytest.mark.parametrize("attention_type", ATTENTION_TYPES)
def test_logits_are_those_of_transformers_for_weights_that_it_saved(
    attention_type: str, tmp_path: Path
) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.TimesformerConfig(
        image_size=32,
        patch_size=8,
        num_frames=4,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=128,
        attention_type=attention_type,
        num_labels=5,
    )
    theirs = randomized(transformers.TimesformerForVideoClassification(config))
    theirs.save_pretrained(tmp_path)
    ours = time_sformer(attention_type=attention_type)
    load_timesformer_weights(ours, str(tmp_path), load_head=True)
    with torch.no_grad():
        output = theirs(clips(), output_hidden_states=True)
        expected = output.logits
        if attention_type == "space_only":
            # transformers leaves the frames apart; the paper's authors average them here.
            frames = output.hidden_states[-1][:, 0].unflatten(0, (2, 4))
            expected = theirs.classifier(theirs.timesformer.layernorm(frames.mean(dim=1)))
        torch.testing.assert_close(ours(clips()), expected, rtol=0, atol=1e-4)
    assert expected.std() > 0.1


def vit(**overrides: Any) -> VisionTransformer:
    settings = {"img_size": 32, "patch_size": 8}
    torch.manual_seed(5)
    return randomized(VisionTransformer(**SIZES | settings | overrides))


@pytest.fixture
def vit_file(tmp_path: Path) -> str:
    save_file(vit().state_dict(), tmp_path / "vit.safetensors")
    return str(tmp_path / "vit.safetensors")


def from_vit(vit_file: str, attention_type: str) -> TimeSformer:
    model = time_sformer(attention_type=attention_type)
    load_timesformer_weights(model, vit_file, load_head=True)
    return model


def test_space_only_starts_as_the_image_model_averaged_over_the_frames(vit_file: str) -> None:
    model, frames = from_vit(vit_file, "space_only"), clips()
    image_model = vit()
    image_model.norm = image_model.head = torch.nn.Identity()  # up to its class token
    expected = image_model(frames.flatten(0, 1)).unflatten(0, (2, 4)).mean(dim=1)
    encoded = model._encode(*model._embed(frames), None)
    torch.testing.assert_close(encoded, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("attention_type", ["space_only", "divided_space_time"])
def test_a_clip_of_equal_frames_has_the_logits_of_the_image_model(
    vit_file: str, attention_type: str
) -> None:
    frames = clips(num_frames=1)
    logits = from_vit(vit_file, attention_type)(frames.expand(-1, 4, -1, -1, -1))
    torch.testing.assert_close(logits, vit()(frames[:, 0]), rtol=1e-4, atol=1e-4)


def test_the_first_block_averages_the_class_token_of_the_image_model(vit_file: str) -> None:
    model, frames = from_vit(vit_file, "divided_space_time"), clips()
    class_token, patches = model._embed(frames)
    tokens = torch.cat((class_token[:, None].expand(-1, 4, -1, -1), patches), dim=2)
    block = vit().blocks[0]
    attended = tokens + block.attn(block.norm1(tokens.flatten(0, 1))).view_as(tokens)
    mean = attended[:, :, 0].mean(dim=1)
    expected = mean + block.mlp(block.norm2(mean))
    torch.testing.assert_close(model.blocks[0](tokens)[:, 2, 0], expected, rtol=1e-4, atol=1e-4)


def test_temporal_attention_starts_as_the_spatial_one_and_can_learn(vit_file: str) -> None:
    model, spatial = from_vit(vit_file, "divided_space_time"), vit().blocks[0]
    block = model.blocks[0]
    assert torch.equal(block.temporal_attention.qkv.weight, spatial.attn.qkv.weight)
    assert torch.equal(block.temporal_norm.bias, spatial.norm1.bias)
    model(clips()).square().sum().backward()
    assert block.temporal_fc.weight.grad.abs().sum() > 0


def test_weights_of_an_image_model_are_resized_to_larger_images(vit_file: str) -> None:
    model = time_sformer(image_size=48, num_frames=6, pretrained=vit_file)
    assert model.position_embedding.shape == (1, 37, 32)
    assert model(clips(num_frames=6, size=48)).isfinite().all()


def test_an_image_model_of_another_depth_is_refused(vit_file: str) -> None:
    with pytest.raises(UserError, match=r"do not fit the model: 18 missing \(blocks\.3"):
        time_sformer(depth=4, pretrained=vit_file)


@pytest.mark.parametrize("name", ["test_vit", "timm/test_vit.r160_in1k", "hf_hub:timm/test_vit"])
def test_a_timm_name_is_looked_for_in_the_hub(offline_hub: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"cannot load the weights of test_vit.*pretrained: false"):
        time_sformer(pretrained=name)


def in_hub_cache(cache: Path, name: str) -> dict[str, Tensor]:
    """Weights where the Hugging Face client looks for those of a timm model."""
    state = timm.create_model(name).state_dict()
    repository = cache / f"models--timm--{name}.r160_in1k"
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    save_file(state, snapshot / "model.safetensors")
    return state


def test_a_timm_name_loads_what_the_hub_has(offline_hub: Path) -> None:
    state = in_hub_cache(offline_hub, "test_vit")
    settings = {"embed_dim": 64, "depth": 6, "num_heads": 2, "mlp_ratio": 3.0, "patch_size": 16}
    model = time_sformer(**settings, image_size=160, pretrained="timm/test_vit")
    assert torch.equal(model.position_embedding, state["pos_embed"])
    assert torch.equal(model.blocks[5].mlp.fc2.weight, state["blocks.5.mlp.fc2.weight"])


def test_a_timm_name_of_other_sizes_names_the_settings_to_change(offline_hub: Path) -> None:
    in_hub_cache(offline_hub, "test_vit")
    expected = r"set embed_dim: 64 \(not 32\), depth: 6 \(not 3\), num_heads: 2 \(not 4\), patch_"
    with pytest.raises(UserError, match=expected):
        time_sformer(pretrained="test_vit")


def test_a_timm_model_that_is_no_vit_is_refused(offline_hub: Path) -> None:
    in_hub_cache(offline_hub, "test_resnet")
    with pytest.raises(UserError, match="test_resnet is not a vision transformer"):
        time_sformer(pretrained="test_resnet")
