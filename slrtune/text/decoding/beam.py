"""Beam search over the decoder's texts, of all clips at once; CTC may have a vote.

Shapes: B clips, A clips that are still searched, K texts kept per clip, V vocabulary, L length.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from slrtune.text.decoding.hypothesis import (
    Hypothesis,
    Memory,
    StepDecoder,
    signed_log_probs,
    written_log_probs,
)
from slrtune.text.decoding.prefix_score import Prefixes
from slrtune.text.ids import BOS, EOS, PAD, UNK

_MAX_CANDIDATES = 64
"""CTC looks at so many next tokens of each text: those the decoder likes best."""


class _Beam(NamedTuple):
    """Texts that grow; a row per text, K for each of A clips.

    Attributes:
        totals: (A, K) float64: log-probability by the decoder; -inf = no text.
        ctc: what CTC thinks of them; None without its vote.
        texts: (A, K, L), `BOS` first.
    """

    totals: Tensor
    texts: Tensor
    state: Any
    ctc: Prefixes | None


@torch.no_grad()
def beam_search(
    decoder: StepDecoder,
    memory: Memory,
    max_length: int,
    *,
    beam_size: int = 5,
    length_penalty: float = 1.0,
    ctc_weight: float = 0.0,
) -> list[list[Hypothesis]]:
    """The best texts of each clip, best first.

    A clip is done when ``beam_size`` of its texts have ended and none that goes on is likelier,
    measured as if it ended now; its outcome depends on no other clip.

    Args:
        ctc_weight: share of CTC's prefix score in the log-probabilities that texts are kept and
            compared by (joint decoding, Watanabe et al. 2017).
    """
    beam = _first_beam(decoder, memory, beam_size, use_ctc=ctc_weight > 0)
    ended: list[list[Hypothesis]] = [[] for _ in range(memory.tokens.shape[0])]
    clips = list(range(len(ended)))
    for place in range(max_length + 1):
        logits, state = decoder.step(beam.texts[..., -1].flatten(), beam.state)
        log_probs = written_log_probs(logits, must_end=place == max_length)
        totals = beam.totals[..., None] + log_probs.view(*beam.totals.shape, -1)
        votes = totals if beam.ctc is None else _with_ctc(totals, log_probs, beam.ctc, ctc_weight)
        # of 2 K candidates at most K are ends: K texts go on
        best = votes.flatten(1).topk(2 * beam_size, dim=1)
        ends, going = _sort_out(best, beam, votes.shape[-1], length_penalty)
        for clip, new in zip(clips, ends, strict=True):
            ended[clip] = sorted(ended[clip] + new, key=lambda each: -each.score)[:beam_size]
        flat = votes.flatten(1)
        still = [
            a
            for a, clip in enumerate(clips)
            if going[a]
            and (
                len(ended[clip]) < beam_size
                or _may_win(float(flat[a, going[a][0]]), place, length_penalty, ended[clip])
            )
        ]
        if not still:
            break
        clips = [clips[a] for a in still]
        chosen = torch.tensor([going[a] for a in still], device=logits.device)
        beam = _grow(beam, state, totals, torch.tensor(still, device=logits.device), chosen)
    return ended


def _may_win(vote: float, place: int, length_penalty: float, ended: list[Hypothesis]) -> bool:
    """Whether the best text that goes on, at this place, is likelier than the last of the ended.

    Where the vocabulary is small, unlikely ends come early and in numbers: that so many texts have
    ended says nothing of the one that goes on.
    """
    return vote / (place + 1) ** length_penalty > ended[-1].score


def _first_beam(decoder: StepDecoder, memory: Memory, beam_size: int, *, use_ctc: bool) -> _Beam:
    batch, device = memory.tokens.shape[0], memory.tokens.device
    rows = torch.arange(batch, device=device).repeat_interleave(beam_size)
    totals = torch.full((batch, beam_size), -torch.inf, dtype=torch.float64, device=device)
    totals[:, 0] = 0.0  # all begin alike: one is enough
    ctc = None
    if use_ctc:
        ctc = Prefixes.empty(signed_log_probs(memory.ctc_logits), memory.lengths).select(rows)
    texts = torch.full((batch, beam_size, 1), BOS, device=device)
    return _Beam(totals, texts, decoder.start(memory).select(rows), ctc)


def _with_ctc(totals: Tensor, log_probs: Tensor, ctc: Prefixes, weight: float) -> Tensor:
    """Totals (A, K, V) in which CTC has its share; -inf for tokens that it does not look at."""
    real = log_probs.clone()
    real[:, [PAD, BOS, EOS, UNK]] = -torch.inf
    candidates = real.topk(min(_MAX_CANDIDATES, real.shape[1]), dim=1).indices
    opinion = torch.full_like(log_probs, -torch.inf, dtype=torch.float64)
    opinion.scatter_(1, candidates, ctc.scores(candidates))
    opinion[:, EOS] = ctc.end_scores()
    mixed = weight * opinion.view_as(totals)
    if weight < 1:
        mixed += (1 - weight) * totals
    return mixed.masked_fill(totals == -torch.inf, -torch.inf)


def _sort_out(
    best: tuple[Tensor, Tensor],
    beam: _Beam,
    num_ids: int,
    length_penalty: float,
) -> tuple[list[list[Hypothesis]], list[list[int]]]:
    """What ends and what goes on, per clip.

    Args:
        best: votes and places in the flattened (K, V) of the 2 K best candidates, best first.

    Returns:
        Texts that end among the first K candidates; the K best places that go on, none where no
        text does.
    """
    beam_size = beam.totals.shape[1]
    ends: list[list[Hypothesis]] = []
    going: list[list[int]] = []
    for a, (votes, places) in enumerate(zip(*(part.tolist() for part in best), strict=True)):
        possible = [each for each in zip(votes, places, strict=True) if each[0] > -torch.inf]
        ends.append(
            [
                Hypothesis.of(beam.texts[a, place // num_ids, 1:].tolist(), vote, length_penalty)
                for vote, place in possible[:beam_size]
                if place % num_ids == EOS
            ]
        )
        goes_on = any(place % num_ids != EOS for _, place in possible)
        others = [place for place in places if place % num_ids != EOS]
        going.append(others[:beam_size] if goes_on else [])
    return ends, going


def _grow(beam: _Beam, state: Any, totals: Tensor, still: Tensor, chosen: Tensor) -> _Beam:
    """The beam with the chosen places (A, K) of the flattened ``totals`` of clips ``still``."""
    beam_size, num_ids = totals.shape[1:]
    parents, tokens = chosen // num_ids, chosen % num_ids
    rows = (still[:, None] * beam_size + parents).flatten()
    texts = beam.texts.flatten(0, 1)[rows].view(*chosen.shape, -1)
    return _Beam(
        totals=totals[still].flatten(1).gather(1, chosen),
        texts=torch.cat([texts, tokens[..., None]], dim=-1),
        state=state.select(rows),
        ctc=None if beam.ctc is None else beam.ctc.select(rows).extend(tokens.flatten()),
    )
