from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from slrtune.models.attention import SelfAttention, attention, none_if_all_valid


def qkv(num_queries: int, num_keys: int, seed: int = 0) -> list[Tensor]:
    torch.manual_seed(seed)
    return [torch.randn(2, 3, length, 8) for length in (num_queries, num_keys, num_keys)]


def reference(query: Tensor, key: Tensor, value: Tensor, key_mask: Tensor | None) -> Tensor:
    """Vaswani et al. 2017, equation 1, written out."""
    scores = query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5
    if key_mask is not None:
        scores = scores.masked_fill(~key_mask[:, None, None, :], float("-inf"))
    weights = scores.exp() / scores.exp().sum(dim=-1, keepdim=True)
    return weights @ value


def output_and_gradients(function, inputs: list[Tensor], **options) -> list[Tensor]:
    inputs = [tensor.clone().requires_grad_() for tensor in inputs]
    output = function(*inputs, **options)
    direction = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).view_as(output)
    return [output.detach(), *torch.autograd.grad((output * direction).sum(), inputs)]


def errors(actual: list[Tensor], exact: list[Tensor]) -> list[float]:
    """The largest difference of each tensor, relative to its largest value."""
    return [
        ((ours.double() - theirs).abs().max() / theirs.abs().max()).item()
        for ours, theirs in zip(actual, exact, strict=True)
    ]


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("chunk_size", [None, 1, 4, 5, 11, 64])
@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, 1e-5), (torch.bfloat16, 1e-2)])
def test_every_chunk_size_agrees_with_float64(
    chunk_size: int | None, masked: bool, recompute: bool, dtype: torch.dtype, limit: float
) -> None:
    inputs = [tensor.to(dtype) for tensor in qkv(num_queries=11, num_keys=13)]
    mask = torch.arange(13) < torch.tensor([[13], [6]]) if masked else None
    options = {"chunk_size": chunk_size, "recompute": recompute}
    actual = output_and_gradients(attention, inputs, key_mask=mask, **options)
    exact = output_and_gradients(reference, [t.double() for t in inputs], key_mask=mask)
    assert max(errors(actual, exact)) < limit


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("length", [1, 11])
def test_compiled_chunks_agree_with_float64(length: int, masked: bool) -> None:
    inputs = qkv(length, length)
    mask = torch.arange(length) < torch.tensor([[length], [1]]) if masked else None
    compiled = torch.compile(attention, backend="aot_eager", fullgraph=True)
    actual = output_and_gradients(compiled, inputs, key_mask=mask, chunk_size=4, recompute=True)
    exact = output_and_gradients(reference, [t.double() for t in inputs], key_mask=mask)
    assert errors(actual[:1], exact[:1])[0] < 1e-5
    for ours, theirs in zip(actual, exact, strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=1e-5)


def test_a_single_token_attends_to_itself() -> None:
    query, key, value = qkv(1, 1)
    torch.testing.assert_close(attention(query, key, value, chunk_size=4), value)


def test_masked_keys_have_no_influence() -> None:
    query, key, value = qkv(5, 6)
    mask = torch.tensor([[1, 1, 0, 1, 0, 0], [1, 1, 1, 1, 1, 1]]).bool()
    full = attention(query, key, value, mask)
    kept = mask[0]
    alone = attention(query[:1], key[:1, :, kept], value[:1, :, kept])
    torch.testing.assert_close(full[:1], alone)


@pytest.mark.parametrize("chunk_size", [None, 2])
def test_a_sequence_without_valid_keys_attends_to_all_of_them(chunk_size: int | None) -> None:
    inputs, mask = qkv(5, 6), torch.tensor([[False] * 6, [True] * 6])
    masked = output_and_gradients(attention, inputs, key_mask=mask, chunk_size=chunk_size)
    for actual, expected in zip(masked, output_and_gradients(attention, inputs), strict=True):
        torch.testing.assert_close(actual, expected)


def test_recomputed_chunks_drop_the_same_weights_in_backward() -> None:
    results = []
    for recompute in (False, True):
        torch.manual_seed(7)
        options = {"dropout": 0.5, "chunk_size": 4, "recompute": recompute}
        results.append(output_and_gradients(attention, qkv(10, 10, seed=3), **options))
    for kept, recomputed in zip(*results, strict=True):
        assert torch.equal(kept, recomputed)


def test_attention_dropout_drops_weights_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    query, key = torch.randn(2, 1, 1, 400, 8).unbind(0)
    output = attention(query, key, torch.ones_like(key), dropout=0.5)
    assert output.std() > 0.01
    assert abs(output.mean() - 1) < 0.02


def test_attention_dropout_rests_in_evaluation() -> None:
    layer = SelfAttention(8, 2, attention_dropout=0.9).eval()
    tokens = torch.randn(2, 5, 8)
    assert torch.equal(layer(tokens), layer(tokens))


def test_recomputed_chunks_store_less() -> None:
    def stored_numbers(recompute: bool) -> int:
        query, key, value = (tensor.requires_grad_() for tensor in qkv(64, 64))
        stored: list[int] = []
        hooks = torch.autograd.graph.saved_tensors_hooks(
            lambda tensor: (stored.append(tensor.numel()), tensor)[1], lambda tensor: tensor
        )
        with hooks:  # dropout: no fused kernel on the CPU, so all (Q, K) weights are stored
            attention(query, key, value, dropout=0.1, chunk_size=16, recompute=recompute)
        return sum(stored)

    assert stored_numbers(recompute=True) < 0.5 * stored_numbers(recompute=False)


def test_a_fused_kernel_is_not_run_again() -> None:
    query, key, value = (tensor.requires_grad_() for tensor in qkv(10, 10))
    with torch.profiler.profile() as profile:
        attention(query, key, value, chunk_size=5, recompute=True).sum().backward()
    names = [event.name for event in profile.events()]
    assert names.count("aten::_scaled_dot_product_flash_attention_for_cpu") == 2


@pytest.mark.parametrize("num_queries", [1, 3])
@pytest.mark.parametrize("qkv_bias", [False, True])
def test_the_first_queries_alone_are_mixed_as_among_all(num_queries: int, qkv_bias: bool) -> None:
    layer, tokens = SelfAttention(8, 2, qkv_bias=qkv_bias), torch.randn(2, 5, 8)
    mask = torch.arange(5) < torch.tensor([[5], [2]])
    some = layer(tokens, mask, num_queries)
    torch.testing.assert_close(some, layer(tokens, mask)[:, :num_queries])


@pytest.mark.parametrize("chunk_size", [None, 2])
@pytest.mark.parametrize("qkv_bias", [False, True])
def test_mixing_over_time_is_attention_within_each_place(
    chunk_size: int | None, qkv_bias: bool
) -> None:
    layer = SelfAttention(8, 2, qkv_bias=qkv_bias, chunk_size=chunk_size)
    tokens, mask = torch.randn(2, 5, 3, 8), torch.arange(5) < torch.tensor([[5], [2]])
    mixed = layer.proj(layer.mix_over_time(tokens, mask))
    for place in range(3):
        torch.testing.assert_close(mixed[:, :, place], layer(tokens[:, :, place], mask))


def test_a_chunk_of_no_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="attention_chunk_size must be >= 1 or None, but is 0"):
        attention(*qkv(4, 4), chunk_size=0)


def test_only_a_mask_that_masks_is_kept() -> None:
    padded = torch.tensor([[True, False]])
    assert none_if_all_valid(padded) is padded
    assert none_if_all_valid(torch.ones(2, 3, dtype=torch.bool)) is None
    assert none_if_all_valid(None) is None


def test_a_mask_is_not_looked_at_where_that_would_wait_or_fail() -> None:
    compiled = torch.compile(none_if_all_valid, backend="eager", fullgraph=True)
    assert compiled(torch.ones(2, 3, dtype=torch.bool)) is not None
    with FakeTensorMode():
        assert none_if_all_valid(torch.ones(2, 3, dtype=torch.bool)) is not None
