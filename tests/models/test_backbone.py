from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from slrtune.config.errors import UserError
from slrtune.models.backbone import FrameBackbone
from slrtune.training.peak_memory import StorageTracker


def backbone(name: str = "test_resnet", **overrides: Any) -> FrameBackbone:
    torch.manual_seed(0)
    settings: dict[str, Any] = {
        "image_size": 64,
        "pretrained": False,
        "frame_chunk_size": None,
        "activation_checkpointing": False,
        "freeze_batch_norm": False,
    }
    return FrameBackbone(name, **settings | overrides)


def images(count: int, size: int = 64) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def running_statistics(model: nn.Module) -> dict[str, Tensor]:
    return {name: buffer.clone() for name, buffer in model.named_buffers()}


SMALL_NETWORKS = [
    "test_resnet",
    "test_vit",
    "test_convnext",
    "test_efficientnet",
    "test_nfnet",
    "test_byobnet",
    "mobilenetv3_small_050",
]


@pytest.mark.parametrize("mode", [True, "selective"])
@pytest.mark.parametrize("name", SMALL_NETWORKS)
def test_every_network_learns_the_same_when_its_chunks_are_recomputed(
    name: str, mode: bool | str
) -> None:
    def learn(activation_checkpointing: bool | str) -> dict[str, Tensor]:
        model = backbone(
            name, frame_chunk_size=2, activation_checkpointing=activation_checkpointing
        )
        torch.manual_seed(2)
        features = model(images(4))
        assert features.shape == (4, model.num_features)
        features.square().sum().backward()
        gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        return {"features": features.detach(), **gradients, **running_statistics(model)}

    kept, recomputed = learn(False), learn(mode)
    assert kept.keys() == recomputed.keys()
    for key, value in kept.items():
        torch.testing.assert_close(recomputed[key], value, rtol=1e-4, atol=1e-5 * value.abs().max())


@pytest.mark.parametrize("name", ["test_vit", "test_convnext"])
@pytest.mark.parametrize("mode", [True, "selective"])
def test_recomputation_drops_the_same_paths(name: str, mode: bool | str) -> None:
    gradients = []
    for activation_checkpointing in (False, mode):
        model = backbone(
            name,
            frame_chunk_size=2,
            activation_checkpointing=activation_checkpointing,
            drop_path=0.5,
        )
        torch.manual_seed(7)
        model(images(6)).square().sum().backward()
        gradients.append([p.grad for p in model.parameters()])
    for kept, recomputed in zip(*gradients, strict=True):
        assert torch.equal(kept, recomputed)


def test_what_selective_checkpointing_keeps_is_not_overwritten() -> None:
    def is_in_place(model: FrameBackbone) -> bool:
        return any(getattr(module, "inplace", False) for module in model.modules())

    assert is_in_place(backbone())
    assert not is_in_place(backbone(activation_checkpointing="selective"))


def test_drop_path_drops_in_training_alone() -> None:
    model = backbone("test_vit", drop_path=0.5)
    assert not torch.equal(model(images(4)), model(images(4)))
    assert torch.equal(model.eval()(images(4)), model(images(4)))


def test_drop_path_is_refused_by_a_network_without_it() -> None:
    with pytest.raises(UserError, match="vgg11 has no stochastic depth; set backbone_drop_path: 0"):
        backbone("vgg11", drop_path=0.1)


@pytest.mark.parametrize("name", ["test_vit", "test_resnet"])
def test_recomputed_chunks_need_memory_for_one_chunk_however_many_frames(name: str) -> None:
    def peak_bytes(num_frames: int, activation_checkpointing: bool) -> int:
        model = backbone(
            name, frame_chunk_size=4, activation_checkpointing=activation_checkpointing
        )
        frames, tracker = images(num_frames), StorageTracker()
        tracker.track((*model.parameters(), *model.buffers(), frames))
        before = tracker.live_bytes
        with tracker:
            model(frames).sum().backward()
        return tracker.peak_bytes - before

    assert peak_bytes(32, True) < 1.2 * peak_bytes(8, True)
    assert peak_bytes(32, False) > 2.5 * peak_bytes(8, False)


def test_chosen_frames_are_gathered_within_their_chunk() -> None:
    model, chosen = backbone("test_vit", frame_chunk_size=2).eval(), torch.tensor([4, 0, 3])
    torch.testing.assert_close(model(images(5), chosen), model(images(5))[chosen])


def test_features_are_pooled_as_published() -> None:
    plain = timm.create_model("test_vit", num_classes=0, img_size=64).eval()
    model = backbone("test_vit").eval()
    model.network.load_state_dict(plain.state_dict())
    torch.testing.assert_close(model(images(2)), plain(images(2)), rtol=1e-4, atol=1e-5)


def test_local_weights_of_a_vit_fit_other_image_sizes(tmp_path: Path) -> None:
    donor = timm.create_model("test_vit")  # for 160 px
    save_file(donor.state_dict(), tmp_path / "vit.safetensors")
    loaded = backbone("test_vit", pretrained=str(tmp_path / "vit.safetensors")).network
    assert loaded.pos_embed.shape == (1, 17, 64)
    assert torch.equal(loaded.blocks[0].attn.qkv.weight, donor.blocks[0].attn.qkv.weight)


@pytest.mark.parametrize("name", SMALL_NETWORKS)
def test_depths_rise_from_the_pixels(name: str) -> None:
    depths = backbone(name).layer_depths()
    first, *_, last = depths.values()
    assert first == 0 and last == max(depths.values()) >= 4
    assert set(depths.values()) == set(range(last + 1))


def test_features_are_those_of_timm() -> None:
    model = backbone().eval()
    plain = timm.create_model("test_resnet", num_classes=0, global_pool="avg").eval()
    plain.load_state_dict(model.network.state_dict())
    torch.testing.assert_close(model(images(3)), plain(images(3)), rtol=1e-4, atol=1e-5)


def test_no_frames_give_no_features() -> None:
    model = backbone()
    assert model(images(0)).shape == (0, model.num_features)


def test_chunks_are_even_and_no_larger_than_allowed() -> None:
    model, sizes = backbone(frame_chunk_size=4), []
    model.network.register_forward_hook(lambda _, inputs, __: sizes.append(len(inputs[0])))
    model(images(9))
    assert sizes == [3, 3, 3]


@pytest.mark.parametrize("mode", [True, "selective"])
@pytest.mark.parametrize("num_chunks", [1, 2])
def test_recomputation_updates_batch_norm_once(mode: bool | str, num_chunks: int) -> None:
    results = []
    for activation_checkpointing in (False, mode):
        # Unchunked, unrecomputed, or its frames in a chunk of their own.
        size = None if num_chunks == 1 and not activation_checkpointing else 6 // num_chunks
        model = backbone(frame_chunk_size=size, activation_checkpointing=activation_checkpointing)
        model(images(6)).square().sum().backward()
        results.append(running_statistics(model))
    kept, recomputed = results
    assert kept["network.bn1.num_batches_tracked"] == num_chunks
    for name, value in kept.items():
        assert torch.equal(recomputed[name], value), name


def test_recomputation_leaves_batch_norm_as_it_was() -> None:
    model = backbone(frame_chunk_size=3, activation_checkpointing=True)
    model(images(6)).sum().backward()
    assert model.network.bn1.momentum == 0.1
    before = running_statistics(model)["network.bn1.running_mean"]
    model(images(6))
    assert not torch.equal(running_statistics(model)["network.bn1.running_mean"], before)


def test_frozen_batch_norm_stays_frozen_when_training_begins() -> None:
    model = backbone(freeze_batch_norm=True).eval().train()
    before = running_statistics(model)
    features = model(images(4))
    assert model.network.training
    assert all(torch.equal(before[n], value) for n, value in running_statistics(model).items())
    torch.testing.assert_close(features[:1], model(images(4)[:1]), rtol=1e-4, atol=1e-5)


def test_an_unknown_backbone_is_refused_with_close_names() -> None:
    with pytest.raises(UserError, match=r"but is 'resnet5O'; did you mean resnet50"):
        backbone("resnet5O")


def test_an_unknown_weights_tag_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UserError, match="no weights tagged 'a9_in1k' in timm; use one of: a1_in1k"):
        backbone("resnet50.a9_in1k")


def test_a_chunk_of_no_frames_is_refused() -> None:
    with pytest.raises(ValueError, match="frame_chunk_size must be >= 1 or None, but is 0"):
        backbone(frame_chunk_size=0)


@pytest.mark.parametrize("file_name", ["weights.safetensors", "weights.pth"])
def test_local_weights_are_loaded_without_their_classifier(tmp_path: Path, file_name: str) -> None:
    donor, path = timm.create_model("test_resnet"), tmp_path / file_name
    state = donor.state_dict()
    if path.suffix == ".pth":
        torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}}, path)
    else:
        save_file(state, path)
    loaded = backbone(pretrained=str(path)).network.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in loaded.items())


def test_weights_that_do_not_fit_are_counted_and_named(tmp_path: Path) -> None:
    state = timm.create_model("test_resnet").state_dict()
    state["extra.weight"] = state.pop("bn1.weight")
    state["conv1.0.weight"] = torch.zeros(1)
    save_file(state, tmp_path / "odd.safetensors")
    with pytest.raises(UserError) as error:
        backbone(pretrained=str(tmp_path / "odd.safetensors"))
    message = str(error.value)
    assert "1 missing (bn1.weight); 1 unexpected (extra.weight)" in message
    assert "1 of another shape (conv1.0.weight (1,) instead of" in message


def test_a_missing_weights_file_is_named() -> None:
    with pytest.raises(UserError, match=r"no weights file at nowhere\.pth"):
        backbone(pretrained="nowhere.pth")


def test_a_pickle_with_code_is_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": Path("any class")}, tmp_path / "code.pth")
    with pytest.raises(UserError, match="cannot read weights from"):
        backbone(pretrained=str(tmp_path / "code.pth"))


def test_hub_weights_out_of_reach_name_the_cures_in_one_line(offline_hub: Path) -> None:
    with pytest.raises(UserError) as error:
        backbone(pretrained=True)
    message = str(error.value)
    assert message.startswith(
        "pretrained: cannot load the weights of backbone test_resnet (timm/test_resnet.r160_in1k)"
    )
    assert "\n" not in message
    for cure in ("Hugging Face cache", "path/to/weights.safetensors", "pretrained: false"):
        assert cure in message


def test_hub_weights_come_from_the_cache_when_offline(offline_hub: Path) -> None:
    state = timm.create_model("test_resnet").state_dict()
    repository = offline_hub / "models--timm--test_resnet.r160_in1k"
    commit = "0" * 40
    snapshot = repository / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    save_file(state, snapshot / "model.safetensors")
    loaded = backbone(pretrained=True).network.state_dict()
    assert torch.equal(loaded["conv1.0.weight"], state["conv1.0.weight"])
