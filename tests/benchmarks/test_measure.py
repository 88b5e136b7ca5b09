"""The measuring itself, where the right answer is known."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from benchmarks.contenders import chunked_softmax_attention
from benchmarks.measure import TrainingStep, compare, peak_gib_of, take_turns

_MIB = 1 / 1024


def test_peak_is_what_an_action_holds_at_once() -> None:
    lasting = torch.zeros(2**18)  # 1 MiB

    def hold_three_then_one() -> None:
        first = lasting + 1
        second = first * 2
        del first
        _ = second - 1

    beyond_gib, peak_gib = peak_gib_of(hold_three_then_one, [lasting], torch.device("cpu"))
    assert beyond_gib == pytest.approx(2 * _MIB) and peak_gib == pytest.approx(3 * _MIB)


def test_contenders_take_turns() -> None:
    order: list[str] = []
    actions = {name: (lambda name=name: order.append(name)) for name in ("a", "b")}
    times = take_turns(actions, 2, torch.device("cpu"))
    assert order == ["a", "b", "a", "b"]
    assert all(len(turns) == 2 for turns in times.values())


def test_a_wider_network_holds_more_activations() -> None:
    def step(width: int) -> TrainingStep:
        model = nn.Sequential(nn.Flatten(), nn.Linear(12, width), nn.GELU(), nn.Linear(width, 3))
        return TrainingStep(model, torch.randn(64, 1, 3, 2, 2), torch.zeros(64, dtype=torch.long))

    costs = compare({"narrow": step(64), "wide": step(256)}, num_rounds=1)
    # 64 clips x 192 more hidden values, before and after GELU
    more_gib = 2 * 64 * 192 * 4 / 2**30
    assert costs["wide"].activation_gib - costs["narrow"].activation_gib >= more_gib
    assert costs["wide"].peak_gib > costs["wide"].activation_gib


def test_the_plain_loop_of_attention_is_attention() -> None:
    query, key, value = torch.randn(3, 2, 4, 10, 8).unbind(0)
    wanted = nn.functional.scaled_dot_product_attention(query, key, value)
    for chunk_size in (None, 3):
        torch.testing.assert_close(chunked_softmax_attention(query, key, value, chunk_size), wanted)
