"""What is lost between what a translator said of clips and what they say.

Shapes: B clips of a batch, Q tokens of the video, V vocabulary, L longest text and its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from slrtune.models.translation import TranslatorOutput
from slrtune.text.ids import BOS, EOS, PAD


class TextTargets(NamedTuple):
    """What the clips of a micro-batch say; ids on the CPU.

    Attributes:
        texts: without begin and end.
        glosses: empty where a clip has none.
        is_contrastive: whether clips are only to be told apart, by two views of each.
    """

    texts: list[list[int]]
    glosses: list[list[int]]
    is_contrastive: bool = False

    @property
    def decoder_input(self) -> Tensor:
        """int64 (B, L): begin, text, padding."""
        return _padded([[BOS, *text] for text in self.texts])

    @property
    def decoder_output(self) -> Tensor:
        """int64 (B, L): text, end, padding."""
        return _padded([[*text, EOS] for text in self.texts])


def no_loss(outputs: TranslatorOutput) -> Tensor:
    """0, with a gradient of 0 for what the loss leaves out: ranks wait for all gradients."""
    parts = [outputs.token_logits, outputs.memory.ctc_logits, *outputs.extras.values()]
    if outputs.memory.gloss_ctc_logits is not None:
        parts.append(outputs.memory.gloss_ctc_logits)
    return torch.stack([0.0 * part.float().sum() for part in parts]).sum()


def writing_losses(logits: Tensor, targets: TextTargets, smoothing: float) -> Tensor:
    """Float32 (B,): mean cross-entropy of a text's tokens and end under logits (B, L, V)."""
    wanted = targets.decoder_output.to(logits.device, non_blocking=True)
    losses = F.cross_entropy(
        logits.float().flatten(0, 1),
        wanted.flatten(),
        ignore_index=PAD,
        reduction="none",
        label_smoothing=smoothing,
    ).view(wanted.shape)
    lengths = [len(text) + 1 for text in targets.texts]
    return losses.sum(dim=1) / torch.tensor(lengths, device=logits.device)


def ctc_losses(logits: Tensor, lengths: Sequence[int], texts: Sequence[list[int]]) -> Tensor:
    """Float32 (B,): negative log-likelihood of each text by CTC (Graves et al. 2006), per token.

    0 where the text is empty, or longer than the tokens can spell.

    Args:
        logits: (B, Q, V), blank 0.
        lengths: real tokens of each clip.
    """
    log_probs = logits.float().log_softmax(dim=-1).transpose(0, 1)
    device = log_probs.device
    if device.type == "cuda" and torch.are_deterministic_algorithms_enabled():
        log_probs = log_probs.cpu()  # CUDA's backward adds up in any order
    losses = F.ctc_loss(
        log_probs,
        _padded(texts).to(log_probs.device),
        # numbers on the CPU: CUDA's kernel would wait to read them
        torch.tensor(lengths),
        torch.tensor([len(text) for text in texts]),
        reduction="none",
        zero_infinity=True,
    )
    num_tokens = torch.tensor([max(len(text), 1) for text in texts], device=losses.device)
    is_said = torch.tensor([bool(text) for text in texts], device=losses.device)
    return (losses / num_tokens).where(is_said, 0.0).to(device)


def num_lost(outputs: TranslatorOutput, targets: TextTargets) -> int:
    """Clips whose text, or whose line of glosses, is longer than CTC can spell."""
    lengths = memory_lengths(outputs)
    is_spelled = [targets.texts]
    if outputs.memory.gloss_ctc_logits is not None:
        is_spelled.append(targets.glosses)
    return sum(
        any(ctc_steps(lines[place]) > length for lines in is_spelled)
        for place, length in enumerate(lengths)
    )


def ctc_steps(ids: Sequence[int]) -> int:
    """Tokens that a video needs to spell ``ids``: equal neighbours have a blank between them."""
    return len(ids) + sum(one == other for one, other in pairwise(ids))


def memory_lengths(outputs: TranslatorOutput) -> list[int]:
    """Real tokens of each clip; without a mask nothing waits for the device."""
    memory = outputs.memory
    if memory.mask is None:
        return [memory.tokens.shape[1]] * len(memory.tokens)
    lengths: list[int] = memory.lengths.tolist()
    return lengths


def _padded(lines: Sequence[list[int]]) -> Tensor:
    """int64 (B, longest), padding behind; at least one wide."""
    width = max([1, *map(len, lines)])
    return torch.tensor([[*line, *[PAD] * (width - len(line))] for line in lines])
