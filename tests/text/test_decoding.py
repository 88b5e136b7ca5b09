"""Decoding against brute force, and against itself, with a small real decoder."""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple, Self

import pytest
import torch
from torch import Tensor, nn

from slrtune.config.decoding import DecodingConfig
from slrtune.text.decoding import Hypothesis, decode
from slrtune.text.decoding.beam import beam_search
from slrtune.text.decoding.ctc import ctc_greedy, ctc_prefix_beam
from slrtune.text.decoding.hypothesis import signed_log_probs, written_log_probs
from slrtune.text.decoding.prefix_score import Prefixes
from slrtune.text.decoding.step_by_step import greedy, sample
from slrtune.text.ids import BOS, EOS

V, D = 9, 12
METHODS = ("greedy", "beam", "ctc", "ctc_beam", "joint", "sample")


class TinyMemory(NamedTuple):
    tokens: Tensor
    ctc_logits: Tensor
    lengths: Tensor

    def of(self, *clips: int) -> TinyMemory:
        return TinyMemory(*(part[list(clips)] for part in self))


class TinyState(NamedTuple):
    hidden: Tensor

    def select(self, index: Tensor) -> Self:
        return self._replace(hidden=self.hidden[index])


class TinyDecoder(nn.Module):
    """A GRU that begins with the mean of a clip's real tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.cell, self.head = (
            nn.Embedding(V, D), nn.GRUCell(D, D), nn.Linear(D, V),
        )  # fmt: skip
        with torch.no_grad():
            self.head.weight *= 6.0  # sure of itself, but not of the same token everywhere

    def start(self, memory: TinyMemory) -> TinyState:
        real = torch.arange(memory.tokens.shape[1]) < memory.lengths[:, None]
        summed = (memory.tokens * real[..., None]).sum(dim=1)
        return TinyState(summed / memory.lengths[:, None])

    def step(self, tokens: Tensor, state: TinyState) -> tuple[Tensor, TinyState]:
        hidden = self.cell(self.embedding(tokens), state.hidden)
        return self.head(hidden), TinyState(hidden)


@pytest.fixture(scope="module")
def decoder() -> TinyDecoder:
    torch.manual_seed(0)
    return TinyDecoder().eval()


def clips(batch: int = 6, length: int = 7) -> TinyMemory:
    generator = torch.Generator().manual_seed(batch)
    lengths = torch.randint(3, length + 1, (batch,), generator=generator)
    tokens = torch.randn(batch, length, D, generator=generator)
    return TinyMemory(tokens, 2 * torch.randn(batch, length, V, generator=generator), lengths)


def assert_same(found: list[Hypothesis], expected: list[Hypothesis]) -> None:
    assert [each.ids for each in found] == [each.ids for each in expected]
    for one, other in zip(found, expected, strict=True):
        assert one[1:] == pytest.approx(other[1:], abs=1e-5)


# --- what all ways share ---


@pytest.mark.parametrize("method", METHODS)
def test_a_text_depends_on_its_clip_alone(decoder: TinyDecoder, method: str) -> None:
    config = DecodingConfig.model_validate({"method": method, "max_length": 12})
    memory = clips()
    together = decode(decoder, memory, config)
    assert len({each.ids for each in together}) > 2
    for clip in range(6):
        alone = memory.of(clip)
        length = int(alone.lengths)
        padded = TinyMemory(
            torch.cat([alone.tokens[:, :length], torch.full((1, 4, D), 7.0)], dim=1),
            torch.cat([alone.ctc_logits[:, :length], torch.full((1, 4, V), -3.0)], dim=1),
            alone.lengths,
        )
        assert_same(decode(decoder, padded, config), together[clip : clip + 1])
    assert_same(decode(decoder, memory.of(5, 2), config), [together[5], together[2]])


@pytest.mark.parametrize("method", METHODS)
def test_texts_hold_no_specials_and_confidence_is_a_probability(
    decoder: TinyDecoder, method: str
) -> None:
    for max_length in (1, 20):
        config = DecodingConfig.model_validate({"method": method, "max_length": max_length})
        for each in decode(decoder, clips(12), config):
            assert 0.0 <= each.confidence <= 1.0 and math.isfinite(each.score)
            assert all(3 < token < V for token in each.ids)
            assert "ctc" in method or len(each.ids) <= max_length


# --- the decoder's texts ---


def log_prob_of(decoder: TinyDecoder, memory: TinyMemory, ids: tuple[int, ...]) -> float:
    tokens, state, total = (BOS, *ids), decoder.start(memory), 0.0
    for token, after in zip(tokens, (*ids, EOS), strict=True):
        logits, state = decoder.step(torch.tensor([token]), state)
        total += written_log_probs(logits, must_end=False)[0, after].item()
    return total


@pytest.mark.parametrize("method", ["beam", "joint"])
def test_a_beam_of_one_is_greedy(decoder: TinyDecoder, method: str) -> None:
    memory = clips(16)
    values: dict[str, object] = {
        "method": method,
        "beam_size": 1,
        "length_penalty": 0.0,
        "ctc_weight": 0.0,
        "max_length": 15,
    }
    found = decode(decoder, memory, DecodingConfig.model_validate(values))
    assert_same(found, greedy(decoder, memory, 15))


@torch.no_grad()
def test_a_wide_beam_finds_the_best_of_all_texts(decoder: TinyDecoder) -> None:
    texts = [ids for n in range(3) for ids in itertools.product(range(4, V), repeat=n)]
    for clip in range(4):
        memory = clips().of(clip)
        best = max(texts, key=lambda ids: log_prob_of(decoder, memory, ids))
        found = beam_search(decoder, memory, 2, beam_size=40, length_penalty=0.0)[0]
        assert found[0].ids == best
        assert found[0].score == pytest.approx(log_prob_of(decoder, memory, best), abs=1e-4)
        assert len({each.ids for each in found}) == len(found) == 31  # each text once


def test_a_length_penalty_compares_means(decoder: TinyDecoder) -> None:
    for texts in beam_search(decoder, clips(), 12, beam_size=4, length_penalty=1.0):
        for each in texts:
            assert each.score == pytest.approx(math.log(each.confidence), abs=1e-6)


def test_samples_follow_the_seed_and_the_probabilities(decoder: TinyDecoder) -> None:
    memory, likely = clips(), greedy(decoder, clips(), 12)
    assert sample(decoder, memory, 12, seed=1) == sample(decoder, memory, 12, seed=1)
    assert sample(decoder, memory, 12, seed=1) != sample(decoder, memory, 12, seed=2)
    assert sample(decoder, memory, 12, top_k=1) == likely
    assert sample(decoder, memory, 12, top_p=1e-6) == likely
    assert sample(decoder, memory, 12, temperature=1e-4) == likely


@torch.no_grad()
def test_first_tokens_are_drawn_as_often_as_they_are_likely(decoder: TinyDecoder) -> None:
    memory = clips().of(1)
    logits, _ = decoder.step(torch.tensor([BOS]), decoder.start(memory))
    expected = written_log_probs(logits, must_end=False)[0].exp()
    drawn = torch.zeros(V)
    for seed in range(400):
        ids = sample(decoder, memory, 2, seed=seed)[0].ids
        drawn[ids[0] if ids else EOS] += 1 / 400
    assert (drawn - expected).abs().max() < 0.08


# --- CTC ---


def all_alignments(log_probs: Tensor) -> dict[tuple[int, ...], float]:
    """Probability of each text by every alignment of a clip (Q, V)."""
    totals: dict[tuple[int, ...], float] = {}
    for path in itertools.product(range(log_probs.shape[1]), repeat=log_probs.shape[0]):
        text = tuple(token for token, _ in itertools.groupby(path) if token)
        gain = sum(log_probs[q, token].item() for q, token in enumerate(path))
        totals[text] = totals.get(text, 0.0) + math.exp(gain)
    return {text: value for text, value in totals.items() if value > 0}


@pytest.mark.parametrize("num_ids", [5, 6])
def test_prefix_beam_is_the_sum_over_all_alignments(num_ids: int) -> None:
    logits = 1.5 * torch.randn(3, 5, num_ids, generator=torch.Generator().manual_seed(3))
    found = ctc_prefix_beam(logits, torch.tensor([5, 5, 3]), beam_size=1000)
    for clip, length in enumerate((5, 5, 3)):
        expected = all_alignments(signed_log_probs(logits[clip, :length]))
        assert {each.ids for each in found[clip]} == set(expected)
        for each in found[clip]:
            assert each.score == pytest.approx(math.log(expected[each.ids]), abs=1e-9)
        assert found[clip][0].ids == max(expected, key=lambda text: expected[text])


def test_the_best_text_need_not_be_the_best_path() -> None:
    """Blank is likeliest at both moments (0.36), but `a` has three paths (0.64)."""
    log_probs = torch.full((1, 2, 5), -torch.inf)
    log_probs[..., 0], log_probs[..., 4] = math.log(0.6), math.log(0.4)
    lengths = torch.tensor([2])
    assert ctc_greedy(log_probs, lengths)[0].ids == ()
    best = ctc_prefix_beam(log_probs, lengths)[0][0]
    assert best.ids == (4,) and best.score == pytest.approx(math.log(0.64))


def test_greedy_ctc_leaves_out_repetitions_and_blanks() -> None:
    path = torch.tensor([[5, 5, 0, 5, 4, 4, 8, 8]])
    logits = 9.0 * nn.functional.one_hot(path, V).float()
    assert ctc_greedy(logits, torch.tensor([6]))[0].ids == (5, 5, 4)


def test_prefix_scores_are_the_sum_over_all_alignments() -> None:
    log_probs = signed_log_probs(torch.randn(1, 5, 6, generator=torch.Generator().manual_seed(5)))
    length = 4
    expected = all_alignments(log_probs[0, :length])
    for text in ((), (4,), (5,), (4, 4), (4, 5), (5, 4, 5)):
        prefixes = Prefixes.empty(log_probs, torch.tensor([length]))
        for token in text:
            prefixes = prefixes.extend(torch.tensor([token]))
        assert prefixes.end_scores().exp().item() == pytest.approx(expected[text])
        for token, score in zip((4, 5), prefixes.scores(torch.tensor([[4, 5]]))[0], strict=True):
            longer = (*text, token)
            begins = sum(p for ids, p in expected.items() if ids[: len(longer)] == longer)
            assert score.exp().item() == pytest.approx(begins)


@torch.no_grad()
@pytest.mark.parametrize("weight", [0.4, 1.0])
def test_joint_decoding_weighs_decoder_and_ctc(decoder: TinyDecoder, weight: float) -> None:
    texts = [ids for n in range(3) for ids in itertools.product(range(4, V), repeat=n)]
    for clip in range(3):
        memory = clips(length=4).of(clip)
        of_ctc = all_alignments(signed_log_probs(memory.ctc_logits[0, : int(memory.lengths)]))

        def score(ids: tuple[int, ...], memory=memory, of_ctc=of_ctc) -> float:
            by_decoder = log_prob_of(decoder, memory, ids) if weight < 1 else 0.0
            return (1 - weight) * by_decoder + weight * math.log(of_ctc.get(ids, 1e-300))

        best = max(texts, key=score)
        found = beam_search(
            decoder, memory, 2, beam_size=40, length_penalty=0.0, ctc_weight=weight
        )[0]
        assert found[0].ids == best and found[0].score == pytest.approx(score(best), abs=1e-4)
