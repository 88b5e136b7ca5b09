"""What decoding takes and gives, and the probabilities that all its ways share.

Shapes: B clips, V vocabulary, Q tokens of the video.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, Self

import torch
from torch import Tensor

from slrtune.text.ids import BOS, EOS, PAD, UNK

_NEVER_WRITTEN = (PAD, BOS, UNK)
_NEVER_SIGNED = (BOS, EOS, UNK)


class Hypothesis(NamedTuple):
    """A text that is finished.

    Attributes:
        ids: tokens, without `BOS` and `EOS`.
        score: what hypotheses of one clip are compared by; higher is better.
        confidence: 0..1: the geometric mean of the probabilities of its tokens and of its end.
    """

    ids: tuple[int, ...]
    score: float
    confidence: float

    @classmethod
    def of(cls, ids: Sequence[int], log_prob: float, length_penalty: float = 0.0) -> Hypothesis:
        """Scored by ``log_prob`` over its length (the end counts) to the power of the penalty."""
        length = len(ids) + 1
        score = log_prob / length**length_penalty
        return cls(tuple(ids), score, min(1.0, math.exp(log_prob / length)))


class DecoderState(Protocol):
    """What the decoder remembers, one row per text."""

    def select(self, index: Tensor) -> Self:
        """The state of rows ``index``, which may repeat, drop and reorder them."""
        ...


class StepDecoder(Protocol):
    """A decoder that reads one token per text and says what comes next."""

    def start(self, memory: Any) -> Any:
        """The state before the first token, one row per clip."""
        ...

    def step(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Logits (B, V) behind ``tokens`` (B,), and the state there."""
        ...


class Memory(Protocol):
    """Clips as the encoder leaves them."""

    @property
    def tokens(self) -> Tensor: ...
    @property
    def ctc_logits(self) -> Tensor: ...
    @property
    def lengths(self) -> Tensor: ...


def written_log_probs(logits: Tensor, *, must_end: bool) -> Tensor:
    """Log-probabilities (B, V) of the decoder's next token; only of the end if it ``must_end``.

    Padding, begin and unknown are never written: the rest shares their probability.
    """
    allowed = logits.float().index_fill(-1, _ids(_NEVER_WRITTEN, logits), -torch.inf)
    log_probs = allowed.log_softmax(dim=-1)
    if not must_end:
        return log_probs
    end = log_probs[..., EOS].clone()
    log_probs = torch.full_like(log_probs, -torch.inf)
    log_probs[..., EOS] = end
    return log_probs


def signed_log_probs(ctc_logits: Tensor) -> Tensor:
    """Log-probabilities (B, Q, V) of CTC in float64, without begin, end and unknown."""
    allowed = ctc_logits.double().index_fill(-1, _ids(_NEVER_SIGNED, ctc_logits), -torch.inf)
    return allowed.log_softmax(dim=-1)


def _ids(ids: tuple[int, ...], like: Tensor) -> Tensor:
    return torch.tensor(ids, device=like.device)
