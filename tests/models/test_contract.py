"""What every registered architecture must keep; a new one is covered by being registered."""

from __future__ import annotations

import pytest
import torch

from slrtune.models import FrameFeatureModel, list_models
from slrtune.models.attention import SelfAttention
from slrtune.training.peak_memory import StorageTracker
from tests.models.tiny import (
    NUM_CLASSES,
    assert_equal,
    last_frames_padded,
    learn_once,
    tiny_clips,
    tiny_model,
)

every_model = pytest.mark.parametrize("name", list_models("recognition"))


@every_model
def test_logits_have_one_score_per_gloss(name: str) -> None:
    assert tiny_model(name)(tiny_clips(batch=3)).shape == (3, NUM_CLASSES)


@every_model
def test_backward_gives_every_parameter_a_finite_gradient(name: str) -> None:
    for key, value in learn_once(tiny_model(name), tiny_clips()).items():
        assert value.isfinite().all(), key


@every_model
def test_the_loss_falls_on_two_clips(name: str) -> None:
    model, frames, targets = tiny_model(name), tiny_clips(), torch.tensor([1, 3])
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(15):
        loss = torch.nn.functional.cross_entropy(model(frames), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


@every_model
def test_padding_frames_do_not_change_the_logits(name: str) -> None:
    model, mask = tiny_model(name).eval(), last_frames_padded(1, 3, 4)
    frames, garbage = tiny_clips(batch=3), tiny_clips(batch=3)
    garbage[~mask] = torch.tensor([1e6, float("nan"), float("inf")])[:, None, None]
    frames[~mask] = 0.0
    torch.testing.assert_close(model(garbage, mask), model(frames, mask))


@every_model
def test_padding_frames_do_not_change_gradients_or_statistics(name: str) -> None:
    mask = last_frames_padded(2, 3)
    frames, garbage = tiny_clips(), tiny_clips()
    garbage[~mask] = float("nan")
    assert_equal(
        learn_once(tiny_model(name), garbage, mask), learn_once(tiny_model(name), frames, mask)
    )


@every_model
def test_valid_frames_do_change_the_logits(name: str) -> None:
    model, mask = tiny_model(name).eval(), last_frames_padded(3, 3)
    frames, other = tiny_clips(), tiny_clips()
    other[:, 2] = 1.0
    assert not torch.allclose(model(frames, mask), model(other, mask))


@every_model
def test_a_mask_without_padding_is_as_good_as_none(name: str) -> None:
    model, frames = tiny_model(name).eval(), tiny_clips()
    assert torch.equal(model(frames, last_frames_padded(4, 4)), model(frames))


@every_model
def test_a_clip_of_padding_alone_gives_finite_logits(name: str) -> None:
    model = tiny_model(name).eval()
    for mask in (last_frames_padded(0, 4), last_frames_padded(0, 0)):
        assert model(tiny_clips(), mask).isfinite().all()


@every_model
def test_clips_in_a_batch_do_not_see_each_other(name: str) -> None:
    model, frames = tiny_model(name).eval(), tiny_clips(batch=3)
    alone = torch.cat([model(clip[None]) for clip in frames])
    torch.testing.assert_close(model(frames), alone, rtol=1e-4, atol=1e-5)


@every_model
@pytest.mark.parametrize("num_frames", [1, 3, 7])
def test_clips_may_have_another_number_of_frames(name: str, num_frames: int) -> None:
    model = tiny_model(name).eval()
    assert model(tiny_clips(num_frames=num_frames)).isfinite().all()


@every_model
@pytest.mark.parametrize("mask", [None, last_frames_padded(2, 4)], ids=["all valid", "padded"])
def test_chunks_change_neither_logits_nor_gradients(name: str, mask: torch.Tensor | None) -> None:
    # Frozen, because BatchNorm's statistics are those of a chunk; and no dropout, because its
    # random numbers fall differently.
    settings = {"freeze_batch_norm": True, "dropout": 0.0, "drop_path": 0.0}
    whole = tiny_model(name, **settings, attention_chunk_size=None)
    chunked = tiny_model(name, **settings, attention_chunk_size=3, frame_chunk_size=3)
    frames = tiny_clips()
    assert_equal(learn_once(chunked, frames, mask), learn_once(whole, frames, mask))


@every_model
@pytest.mark.parametrize("mode", [True, "selective"])
@pytest.mark.parametrize("chunk_size", [None, 3])
def test_activation_checkpointing_changes_nothing_even_with_dropout(
    name: str, chunk_size: int | None, mode: bool | str
) -> None:
    settings = {
        "temporal_conv_layers": 1,
        "backbone_drop_path": 0.3,
        "dropout": 0.3,
        "attention_dropout": 0.3,
        "drop_path": 0.3,
        "attention_chunk_size": chunk_size,
        "frame_chunk_size": chunk_size,
    }
    frames, mask = tiny_clips(batch=3), last_frames_padded(2, 4, 4)
    kept = learn_once(tiny_model(name, **settings), frames, mask)
    recomputed = tiny_model(name, **settings, activation_checkpointing=mode)
    assert_equal(learn_once(recomputed, frames, mask), kept)


def kept_activation_bytes(name: str, mode: bool | str, batch: int = 2) -> int:
    """What lives between forward and backward, besides the model and its input."""
    model = tiny_model(name, activation_checkpointing=mode, frame_chunk_size=2)
    frames, tracker = tiny_clips(batch), StorageTracker()
    tracker.track((*model.parameters(), *model.buffers(), frames))
    before = tracker.live_bytes
    with tracker:
        logits = model(frames)
    return tracker.live_bytes - before - logits.nbytes


@every_model
def test_activation_checkpointing_keeps_fewer_activations(name: str) -> None:
    plain, selective, full = (kept_activation_bytes(name, m) for m in (False, "selective", True))
    assert full < 0.5 * plain
    assert full < selective < 0.75 * plain


@every_model
def test_compiled_models_learn_the_same(name: str) -> None:
    settings = {"depth": 1, "dropout": 0.0, "frame_chunk_size": 4}
    settings |= {"activation_checkpointing": "selective"}
    expected = learn_once(tiny_model(name, **settings), tiny_clips())
    model = tiny_model(name, **settings)
    model.compile(backend="aot_eager")
    assert_equal(learn_once(model, tiny_clips()), expected)


@every_model
def test_compiled_models_ignore_padding_within_one_graph(name: str) -> None:
    model, mask = tiny_model(name, depth=1).eval(), last_frames_padded(0, 2)
    frames, garbage = tiny_clips(), tiny_clips()
    garbage[~mask] = float("nan")
    expected = model(frames, mask)
    model.compile(backend="eager", fullgraph=True)
    torch.testing.assert_close(model(garbage, mask), expected, rtol=1e-4, atol=1e-5)


@every_model
def test_exported_models_take_any_number_of_clips(name: str) -> None:
    model, mask = tiny_model(name, depth=1).eval(), last_frames_padded(2, 4, 3)
    frames, batch = tiny_clips(batch=3), torch.export.Dim("batch", min=1, max=64)
    exported = torch.export.export(
        model, (frames[:2], mask[:2]), dynamic_shapes=({0: batch}, {0: batch})
    )
    expected = model(frames, mask)
    torch.testing.assert_close(exported.module()(frames, mask), expected, rtol=1e-4, atol=1e-5)


@every_model
def test_depths_of_layers_rise_from_the_pixels_to_the_classifier(name: str) -> None:
    model = tiny_model(name)
    depths = model.layer_depths()
    assert depths.keys() == {n for n, _ in model.named_parameters()}
    assert set(depths.values()) == set(range(max(depths.values()) + 1))
    assert len(set(depths.values())) > 2
    assert depths["head.weight"] == max(depths.values())


@every_model
def test_features_of_frames_may_be_computed_apart(name: str) -> None:
    model, frames, mask = tiny_model(name).eval(), tiny_clips(), last_frames_padded(2, 4)
    assert model.has_frame_features == isinstance(model, FrameFeatureModel)
    if isinstance(model, FrameFeatureModel):
        for given in (None, mask):
            features = model.frame_features(frames, given)
            assert torch.equal(model.classify_features(features, given), model(frames, given))
        assert not features[~mask].any()


@every_model
def test_a_model_rebuilt_from_its_state_gives_the_same_logits(name: str) -> None:
    model, rebuilt = tiny_model(name, seed=0).eval(), tiny_model(name, seed=9).eval()
    rebuilt.load_state_dict(model.state_dict())
    assert torch.equal(rebuilt(tiny_clips()), model(tiny_clips()))


@every_model
def test_same_seed_gives_the_same_model(name: str) -> None:
    first, second = tiny_model(name, seed=5), tiny_model(name, seed=5)
    assert_equal(first.state_dict(), second.state_dict())


@every_model
def test_encoder_prefixes_split_the_parameters(name: str) -> None:
    model = tiny_model(name)
    names = [n for n, _ in model.named_parameters()]
    encoder = [n for n in names if n.startswith(model.encoder_prefixes)]
    assert all(any(n.startswith(prefix) for n in names) for prefix in model.encoder_prefixes)
    assert "head.weight" in set(names) - set(encoder)


@every_model
def test_names_without_weight_decay_are_parameters(name: str) -> None:
    model = tiny_model(name)
    assert model.no_weight_decay_names() <= {n for n, _ in model.named_parameters()}
    assert "position_embedding" in model.no_weight_decay_names()


@every_model
def test_runs_in_bfloat16(name: str) -> None:
    model, mask = (
        tiny_model(name, position="sinusoidal").eval().bfloat16(),
        last_frames_padded(2, 4),
    )
    logits = model(tiny_clips(num_frames=4).bfloat16(), mask)
    assert logits.dtype == torch.bfloat16 and logits.isfinite().all()


@every_model
def test_runs_under_autocast(name: str) -> None:
    model, frames, mask = tiny_model(name), tiny_clips(), last_frames_padded(2, 4)
    with torch.autocast("cpu", torch.bfloat16):
        model(frames, mask).float().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@every_model
def test_heads_that_do_not_divide_the_width_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="embed_dim must be divisible by num_heads, but 32 % 3"):
        tiny_model(name, num_heads=3)


@every_model
def test_attention_is_chunked_everywhere(name: str) -> None:
    model = tiny_model(name, attention_chunk_size=3)
    layers = [module for module in model.modules() if isinstance(module, SelfAttention)]
    assert layers and all(layer.chunk_size == 3 for layer in layers)
