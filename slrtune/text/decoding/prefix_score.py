"""CTC's opinion on texts that grow token by token (Watanabe et al. 2017, algorithm 2).

Shapes: N texts, Q tokens of the video, V vocabulary, C candidates for the next token.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from slrtune.text.ids import PAD

_BLANK = PAD


class Prefixes(NamedTuple):
    """Texts so far, and how likely each is at each moment of its clip.

    Attributes:
        log_probs: (N, Q, V) float64 of the clip; certainly blank behind its end.
        spoken: (N, Q + 1): all of the text was signed in the first q moments, a token last.
        rested: the same, a blank last.
        last: (N,) last token; -1 for an empty text.
    """

    log_probs: Tensor
    spoken: Tensor
    rested: Tensor
    last: Tensor

    @classmethod
    def empty(cls, log_probs: Tensor, lengths: Tensor) -> Prefixes:
        """The empty text for each clip of ``log_probs`` (N, Q, V), float64."""
        behind = torch.arange(log_probs.shape[1], device=log_probs.device) >= lengths[:, None]
        log_probs = log_probs.masked_fill(behind[..., None], -torch.inf)
        log_probs[..., _BLANK] = log_probs[..., _BLANK].masked_fill(behind, 0.0)
        before = log_probs.new_zeros(len(log_probs), 1)
        rested = torch.cat([before, log_probs[..., _BLANK].cumsum(dim=1)], dim=1)
        last = torch.full((len(log_probs),), -1, device=log_probs.device)
        return cls(log_probs, torch.full_like(rested, -torch.inf), rested, last)

    def select(self, index: Tensor) -> Prefixes:
        """Those of rows ``index``."""
        return Prefixes(*(part[index] for part in self))

    def end_scores(self) -> Tensor:
        """(N,) log-probability that the clip says this text and nothing more."""
        return torch.logaddexp(self.spoken[:, -1], self.rested[:, -1])

    def scores(self, candidates: Tensor) -> Tensor:
        """(N, C) log-probability that the clip says this text, then the candidate, then anything.

        Args:
            candidates: (N, C) ids of real tokens.
        """
        begun = self._before(candidates)  # (N, Q, C)
        spoken = self.log_probs.gather(2, candidates[:, None].expand(-1, begun.shape[1], -1))
        return (begun + spoken).logsumexp(dim=1)

    def extend(self, tokens: Tensor) -> Prefixes:
        """Each text with one of ``tokens`` (N,) behind it."""
        begun = self._before(tokens[:, None]).squeeze(2)
        said = self.log_probs.gather(2, tokens[:, None, None].expand(-1, begun.shape[1], 1))
        said, blank = said.squeeze(2), self.log_probs[..., _BLANK]
        nothing = begun.new_full((len(begun),), -torch.inf)
        spoken, rested = [nothing], [nothing]
        for q in range(begun.shape[1]):
            rested.append(torch.logaddexp(rested[q], spoken[q]) + blank[:, q])
            spoken.append(torch.logaddexp(spoken[q], begun[:, q]) + said[:, q])
        return Prefixes(
            self.log_probs, torch.stack(spoken, dim=1), torch.stack(rested, dim=1), tokens
        )

    def _before(self, candidates: Tensor) -> Tensor:
        """(N, Q, C): the text was over when the candidate begins at moment q.

        The same token again needs a blank in between.
        """
        spoken, rested = self.spoken[:, :-1, None], self.rested[:, :-1, None]
        is_again = (candidates == self.last[:, None])[:, None]
        return torch.where(is_again, rested, torch.logaddexp(spoken, rested))
