"""Text from the CTC layer alone: the best path, or the best text of all its paths.

Shapes: B clips, Q tokens of the video, V vocabulary, K texts kept.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from slrtune.text.decoding.hypothesis import Hypothesis, signed_log_probs
from slrtune.text.ids import PAD

_BLANK = PAD
_ROOT = 0
"""The empty text."""


@torch.no_grad()
def ctc_greedy(ctc_logits: Tensor, lengths: Tensor) -> list[Hypothesis]:
    """The likeliest token of each moment, repetitions and blanks left out: one text per clip.

    Args:
        ctc_logits: (B, Q, V), blank 0.
        lengths: (B,) real moments of each clip.
    """
    values, tokens = signed_log_probs(ctc_logits).max(dim=-1)
    hypotheses = []
    for gains, path, length in zip(values, tokens, lengths.tolist(), strict=True):
        runs = path[:length].unique_consecutive().tolist()
        text = [token for token in runs if token != _BLANK]
        hypotheses.append(Hypothesis.of(text, gains[:length].sum().item()))
    return hypotheses


@torch.no_grad()
def ctc_prefix_beam(
    ctc_logits: Tensor, lengths: Tensor, beam_size: int = 5
) -> list[list[Hypothesis]]:
    """The texts that all their alignments together make likeliest, best first, for each clip.

    Prefix beam search (Hannun et al. 2014) without a language model.

    Args:
        ctc_logits, lengths: as of `ctc_greedy`.
    """
    log_probs = signed_log_probs(ctc_logits).cpu().numpy()
    return [
        _search(clip[:length], beam_size)
        for clip, length in zip(log_probs, lengths.tolist(), strict=True)
    ]


class _Texts:
    """Texts as a tree: a number for each, its parent and its last token."""

    def __init__(self) -> None:
        self.parent, self.last = [_ROOT], [_BLANK]
        self._child: dict[tuple[int, int], int] = {}

    def extended(self, text: int, token: int) -> int:
        """The number of ``text`` with ``token`` behind it."""
        number = self._child.setdefault((text, token), len(self.parent))
        if number == len(self.parent):
            self.parent.append(text)
            self.last.append(token)
        return number

    def ids(self, text: int) -> list[int]:
        ids = []
        while text != _ROOT:
            ids.append(self.last[text])
            text = self.parent[text]
        return ids[::-1]


def _search(log_probs: np.ndarray, beam_size: int) -> list[Hypothesis]:
    """Of one clip (Q, V). ``rested`` and ``spoken`` (K,): log-probability of all alignments so far
    that end with a blank, or with the text's last token."""
    tree, texts = _Texts(), [_ROOT]
    rested, spoken = np.zeros(1), np.full(1, -np.inf)
    for now in log_probs:
        rows, last = np.arange(len(texts)), np.array([tree.last[text] for text in texts])
        total = np.logaddexp(rested, spoken)
        # a token that repeats the last one begins anew only after a blank
        begun = total[:, None] + now
        begun[rows, last] = rested + now[last]
        begun[:, _BLANK] = -np.inf
        rested, spoken = total + now[_BLANK], spoken + now[last]
        spoken[last == _BLANK] = -np.inf  # the empty text has no last token
        _join(tree, texts, begun, spoken)
        texts, rested, spoken = _best(tree, texts, begun, rested, spoken, beam_size)
    totals = np.logaddexp(rested, spoken)
    order = np.argsort(-totals, kind="stable")
    return [Hypothesis.of(tree.ids(texts[k]), float(totals[k])) for k in order]


def _join(tree: _Texts, texts: list[int], begun: np.ndarray, spoken: np.ndarray) -> None:
    """A kept text with one token more may be a kept text, too: their alignments count together."""
    place = {text: k for k, text in enumerate(texts)}
    for k, text in enumerate(texts):
        parent = place.get(tree.parent[text])
        if text != _ROOT and parent is not None:
            token = tree.last[text]
            spoken[k] = np.logaddexp(spoken[k], begun[parent, token])
            begun[parent, token] = -np.inf


def _best(
    tree: _Texts,
    texts: list[int],
    begun: np.ndarray,
    rested: np.ndarray,
    spoken: np.ndarray,
    beam_size: int,
) -> tuple[list[int], np.ndarray, np.ndarray]:
    """The likeliest of the kept texts and of those that began a token."""
    num_texts, num_ids = begun.shape
    votes = np.concatenate([np.logaddexp(rested, spoken), begun.ravel()])
    if len(votes) > beam_size:
        chosen = np.argpartition(-votes, beam_size - 1)[:beam_size]
    else:
        chosen = np.arange(len(votes))
    chosen = chosen[votes[chosen] > -np.inf]
    kept, new = chosen[chosen < num_texts], chosen[chosen >= num_texts] - num_texts
    began = [tree.extended(texts[place // num_ids], int(place % num_ids)) for place in new]
    return (
        [texts[k] for k in kept] + began,
        np.concatenate([rested[kept], np.full(len(new), -np.inf)]),
        np.concatenate([spoken[kept], begun.ravel()[new]]),
    )
