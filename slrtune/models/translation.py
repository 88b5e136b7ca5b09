"""What every model that turns a clip into text keeps, and what passes between its parts.

Ids of text: 0 = padding and blank of CTC, 1 = begin, 2 = end, 3 = unknown, then the vocabulary.

Shapes: B batch, T frames, C channels, H W pixels, Q tokens of the video, D width, L text length,
V vocabulary with the four ids above, G glosses, K landmarks.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, NamedTuple, Protocol, Self

import torch
from torch import Tensor

from slrtune.config.objective import Task
from slrtune.models.registry import VideoModel


class VideoMemory(NamedTuple):
    """A clip as the decoder sees it.

    Attributes:
        tokens: (B, Q, D).
        mask: (B, Q) booleans, True where a token is real; None when all are.
        ctc_logits: (B, Q, V), blank 0.
        gloss_ctc_logits: (B, Q, G + 1), blank 0; None for a model without glosses.
    """

    tokens: Tensor
    mask: Tensor | None
    ctc_logits: Tensor
    gloss_ctc_logits: Tensor | None = None

    @property
    def lengths(self) -> Tensor:
        """int64 (B,): real tokens of each clip; they come first."""
        if self.mask is not None:
            return self.mask.sum(dim=1)
        batch, length = self.tokens.shape[:2]
        return torch.full((batch,), length, dtype=torch.int64, device=self.tokens.device)


class TranslatorOutput(NamedTuple):
    """What training needs of a clip and the text before each token.

    Attributes:
        memory: the clip.
        token_logits: (B, L, V), of the next token at each place of the text.
        extras: by name what a model predicts besides, where its settings ask for it: ``gloss``
            (B, G) logits, ``keypoints`` (B, T, K, 2) from 0, the left and upper edge, to 1,
            ``embedding`` (B, E) of length 1, ``regions`` (B, T, R, P) logits over the patches of a
            frame, row by row.
    """

    memory: VideoMemory
    token_logits: Tensor
    extras: dict[str, Tensor]


class DecoderState(Protocol):
    """What a decoder remembers of the texts so far, one row per text."""

    def select(self, index: Tensor) -> Self:
        """The state of rows ``index`` (int64, (B',)), which may repeat, drop and reorder them."""
        ...


class TranslationModel(VideoModel):
    """Video to text: an encoder of clips and a decoder that writes token after token.

    Built with ``vocab_size`` V in place of ``num_classes``, and for what else it shall predict with
    ``num_glosses`` G (CTC), ``num_bag_glosses``, ``num_keypoints`` K (0 = not that) and
    ``has_embedding``.
    Padding, in frames and behind the text, may hold any value or id: it changes nothing that is
    real.
    """

    task: ClassVar[Task] = "translation"

    @abstractmethod
    def forward(  # type: ignore[override]  # a text, and more than logits, belong to this task
        self, frames: Tensor, frame_mask: Tensor | None, tokens: Tensor
    ) -> TranslatorOutput:
        """Encode clips and predict the next token at every place of their texts.

        Args:
            frames: (B, T, C, H, W) floats, already normalised.
            frame_mask: (B, T) booleans, True where a frame is real; None when all are.
            tokens: int64 (B, L), the decoder's input: begin, then the text, then padding.
        """

    @abstractmethod
    def encode(self, frames: Tensor, frame_mask: Tensor | None = None) -> VideoMemory:
        """The clips alone, for generation and for CTC."""

    @abstractmethod
    def start(self, memory: VideoMemory) -> DecoderState:
        """The state before the first token."""

    @abstractmethod
    def step(self, tokens: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """Read one token per text.

        Args:
            tokens: int64 (B,): begin at first, then what was written last.
            state: of the texts so far; it stays usable.

        Returns:
            (B, V) logits of the next token, and the state behind these tokens.
        """
