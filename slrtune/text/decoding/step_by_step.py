"""One text per clip, token after token: the likeliest each time, or drawn.

Shapes: B clips, A clips whose text has not ended, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from slrtune.text.decoding.hypothesis import (
    Hypothesis,
    Memory,
    StepDecoder,
    written_log_probs,
)
from slrtune.text.ids import BOS, EOS

Choose = Callable[[Tensor, int], Tensor]
"""Log-probabilities (A, V) and the place in the text -> the next tokens (A,)."""


def greedy(decoder: StepDecoder, memory: Memory, max_length: int) -> list[Hypothesis]:
    """The likeliest next token, again and again: a hypothesis per clip."""
    return _write(decoder, memory, max_length, lambda log_probs, _: log_probs.argmax(dim=-1))


def sample(
    decoder: StepDecoder,
    memory: Memory,
    max_length: int,
    *,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    seed: int = 0,
) -> list[Hypothesis]:
    """Texts drawn by the decoder's probabilities: a hypothesis per clip.

    Each clip has the same stream of random numbers, so that its text does not depend on the clips
    beside it. Score and confidence are by the decoder's own probabilities.
    """
    draws = torch.rand(max_length + 1, generator=torch.Generator().manual_seed(seed)).tolist()

    def choose(log_probs: Tensor, place: int) -> Tensor:
        probs, ids = (log_probs / temperature).softmax(dim=-1).sort(dim=-1, descending=True)
        kept = torch.ones_like(probs, dtype=torch.bool)
        if top_k:
            kept[:, top_k:] = False
        kept &= (probs.cumsum(dim=-1) - probs) < top_p  # what is before it has not reached it
        reached = (probs * kept).cumsum(dim=-1)
        drawn = (reached <= draws[place] * reached[:, -1:]).sum(dim=-1, keepdim=True)
        return ids.gather(1, drawn.clamp(max=probs.shape[1] - 1)).squeeze(1)

    return _write(decoder, memory, max_length, choose)


@torch.no_grad()
def _write(
    decoder: StepDecoder, memory: Memory, max_length: int, choose: Choose
) -> list[Hypothesis]:
    batch, device = memory.tokens.shape[0], memory.tokens.device
    texts: list[list[int]] = [[] for _ in range(batch)]
    totals = [0.0] * batch
    active = list(range(batch))
    tokens, state = torch.full((batch,), BOS, device=device), decoder.start(memory)
    for place in range(max_length + 1):
        logits, state = decoder.step(tokens, state)
        log_probs = written_log_probs(logits, must_end=place == max_length)
        tokens = choose(log_probs, place)
        gained = log_probs.gather(1, tokens[:, None]).squeeze(1)
        going = []
        for row, (token, gain) in enumerate(zip(tokens.tolist(), gained.tolist(), strict=True)):
            totals[active[row]] += gain
            if token != EOS:
                texts[active[row]].append(token)
                going.append(row)
        if not going:
            break
        if len(going) < len(active):  # ended texts cost nothing any more
            active = [active[row] for row in going]
            kept = torch.tensor(going, device=device)
            tokens, state = tokens[kept], state.select(kept)
    return [Hypothesis.of(text, total) for text, total in zip(texts, totals, strict=True)]
