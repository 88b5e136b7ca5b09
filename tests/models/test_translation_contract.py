"""What every registered translator must keep; a new one is covered by being registered."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from torch import Tensor

from slrtune.models import TranslationModel, create_model, list_models, model_class
from tests.models.tiny import TINY, assert_equal, last_frames_padded, tiny_clips

VOCAB_SIZE = 11
TEXT = torch.tensor([[1, 4, 5, 6, 7], [1, 8, 9, 0, 0]])
every_translator = pytest.mark.parametrize("name", list_models("translation"))
SETTINGS = {
    "vocab_size": VOCAB_SIZE,
    "num_glosses": 3,
    "num_bag_glosses": 3,
    "num_keypoints": 2,
    "region_attention": [(0, 1), (1, 2)],
    "size": "tiny",
    "num_queries": 3,
    "pool_heads": 4,
    "decoder_depth": 2,
    "decoder_heads": 4,
    "use_temporal_attention": True,
}


def tiny_translator(name: str, seed: int = 0, **overrides: Any) -> TranslationModel:
    """A tiny model in training mode; settings that the architecture lacks are left out."""
    torch.manual_seed(seed)
    known = inspect.signature(model_class(name)).parameters
    settings = {k: v for k, v in (TINY | SETTINGS | overrides).items() if k in known}
    model = create_model(name, **settings)
    assert isinstance(model, TranslationModel)
    return model


def outputs(model: TranslationModel, frames: Tensor, mask: Tensor | None) -> dict[str, Tensor]:
    torch.manual_seed(2)
    memory, token_logits, extras = model(frames, mask, TEXT)
    assert memory.gloss_ctc_logits is not None
    return {
        "tokens": memory.tokens,
        "ctc": memory.ctc_logits,
        "gloss_ctc": memory.gloss_ctc_logits,
        "text": token_logits,
        **extras,
    }


def learn_once(
    model: TranslationModel, frames: Tensor, mask: Tensor | None = None
) -> dict[str, Tensor]:
    """Outputs and gradients of one forward and backward under a fixed seed."""
    results = outputs(model, frames, mask)
    loss = sum((value.sin() * value).mean() for value in results.values())
    assert isinstance(loss, Tensor)
    loss.backward()
    gradients = {f"grad {name}": p.grad for name, p in model.named_parameters()}
    return results | {name: g for name, g in gradients.items() if g is not None}


@every_translator
def test_shapes_are_those_of_the_interface(name: str) -> None:
    model = tiny_translator(name)
    memory, token_logits, _ = model(tiny_clips(), None, TEXT)
    assert token_logits.shape == (2, 5, VOCAB_SIZE)
    assert memory.ctc_logits.shape == (2, memory.tokens.shape[1], VOCAB_SIZE)
    assert memory.gloss_ctc_logits is not None and memory.gloss_ctc_logits.shape[2] == 4
    assert memory.lengths.tolist() == [memory.tokens.shape[1]] * 2


@every_translator
def test_backward_gives_every_parameter_a_finite_gradient(name: str) -> None:
    model = tiny_translator(name)
    results = learn_once(model, tiny_clips())
    assert {f"grad {n}" for n, _ in model.named_parameters()} <= results.keys()
    for key, value in results.items():
        assert value.isfinite().all(), key


@every_translator
@pytest.mark.parametrize("num_queries", [3, None])
def test_padding_frames_change_nothing_that_is_real(name: str, num_queries: int | None) -> None:
    mask = last_frames_padded(2, 4)
    frames, garbage = tiny_clips(), tiny_clips()
    garbage[~mask] = torch.tensor([1e6, float("nan"), float("inf")])[:, None, None]
    frames[~mask] = 0.0
    same = [
        learn_once(tiny_translator(name, num_queries=num_queries), clips, mask)
        for clips in (garbage, frames)
    ]
    assert_equal(*same)
    model = tiny_translator(name, num_queries=num_queries).eval()
    alone, batched = model(frames[:1, :2], None, TEXT[:1]), model(frames, mask, TEXT)
    length = alone.memory.tokens.shape[1]
    assert batched.memory.lengths[0] == length
    for part in (alone.memory.ctc_logits, alone.memory.tokens):
        assert part.shape[1] == length
    torch.testing.assert_close(
        batched.memory.ctc_logits[:1, :length], alone.memory.ctc_logits, rtol=1e-4, atol=1e-5
    )
    torch.testing.assert_close(batched[1][:1], alone.token_logits, rtol=1e-4, atol=1e-5)


@every_translator
def test_a_clip_of_padding_alone_gives_finite_logits(name: str) -> None:
    for num_queries in (3, None):
        model = tiny_translator(name, num_queries=num_queries).eval()
        results = outputs(model, tiny_clips() * float("nan"), last_frames_padded(0, 0))
        assert all(value.isfinite().all() for value in results.values())


@every_translator
def test_padding_behind_a_text_changes_no_earlier_logits(name: str) -> None:
    model, frames = tiny_translator(name).eval(), tiny_clips()
    text = TEXT.clone()
    text[1, 3:] = 10
    before, after = model(frames, None, TEXT)[1], model(frames, None, text)[1]
    torch.testing.assert_close(after[1, :3], before[1, :3])
    assert not torch.allclose(after[1, 3:], before[1, 3:])


@every_translator
def test_steps_with_the_cache_equal_teacher_forcing(name: str) -> None:
    for num_queries in (3, None):
        model = tiny_translator(name, num_queries=num_queries).eval()
        frames, mask = tiny_clips(), last_frames_padded(2, 4)
        expected = model(frames, mask, TEXT).token_logits
        state = model.start(model.encode(frames, mask))
        for place in range(TEXT.shape[1]):
            logits, state = model.step(TEXT[:, place], state)
            torch.testing.assert_close(logits, expected[:, place], rtol=1e-4, atol=1e-5)


@every_translator
def test_a_selected_state_goes_on_with_its_rows(name: str) -> None:
    model = tiny_translator(name, num_queries=None).eval()
    _, state = model.step(
        TEXT[:, 0], model.start(model.encode(tiny_clips(), last_frames_padded(2, 4)))
    )
    expected, _ = model.step(TEXT[:, 1], state)
    rows = torch.tensor([1, 0, 1])
    logits, _ = model.step(TEXT[rows, 1], state.select(rows))
    torch.testing.assert_close(logits, expected[rows])


@every_translator
def test_chunks_change_neither_outputs_nor_gradients(name: str) -> None:
    whole = tiny_translator(name, dropout=0.0)
    chunked = tiny_translator(name, dropout=0.0, frame_chunk_size=3, attention_chunk_size=3)
    for mask in (None, last_frames_padded(2, 4)):
        assert_equal(learn_once(chunked, tiny_clips(), mask), learn_once(whole, tiny_clips(), mask))


@every_translator
@pytest.mark.parametrize("mode", [True, "selective"])
def test_activation_checkpointing_changes_nothing_even_with_dropout(
    name: str, mode: bool | str
) -> None:
    frames, mask = tiny_clips(), last_frames_padded(2, 4)
    settings = {"dropout": 0.3, "drop_path": 0.3}
    for chunk_size in (None, 3):
        kept = learn_once(
            tiny_translator(name, **settings, frame_chunk_size=chunk_size), frames, mask
        )
        model = tiny_translator(
            name, **settings, frame_chunk_size=chunk_size, activation_checkpointing=mode
        )
        assert_equal(learn_once(model, frames, mask), kept)


@every_translator
def test_a_model_rebuilt_from_its_state_gives_the_same_outputs(name: str) -> None:
    model, rebuilt = tiny_translator(name).eval(), tiny_translator(name, seed=9).eval()
    rebuilt.load_state_dict(model.state_dict())
    assert_equal(outputs(rebuilt, tiny_clips(), None), outputs(model, tiny_clips(), None))


@every_translator
def test_parameter_names_serve_the_optimizer(name: str) -> None:
    model = tiny_translator(name)
    names, depths = {n for n, _ in model.named_parameters()}, model.layer_depths()
    encoder = {n for n in names if n.startswith(model.encoder_prefixes)}
    assert encoder and encoder < names
    assert model.no_weight_decay_names() <= names
    assert depths.keys() == names
    assert set(depths.values()) == set(range(max(depths.values()) + 1))
    assert min(depths[n] for n in names - encoder) == max(depths.values())


@every_translator
def test_runs_under_autocast(name: str) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        results = learn_once(tiny_translator(name), tiny_clips(), last_frames_padded(2, 4))
    assert all(value.isfinite().all() for value in results.values())
