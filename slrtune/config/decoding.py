"""`decoding:` how a translator's output becomes text."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from slrtune.config.base import Settings


class DecodingConfig(Settings):
    """How text is read off the decoder, off the CTC layer, or off both."""

    method: Literal["greedy", "beam", "ctc", "ctc_beam", "joint", "sample"] = "greedy"
    """`greedy`: the likeliest next token, again and again. `beam`: the best of `beam_size` texts
    that grow together. `ctc`: the likeliest token of each moment of the video; the fastest.
    `ctc_beam`: the likeliest text of all alignments. `joint`: beam search in which decoder and CTC
    vote (`ctc_weight`). `sample`: drawn by the decoder's probabilities."""
    beam_size: int = Field(default=5, ge=1, le=100)
    """beam, ctc_beam, joint: texts kept at a time. 1 = greedy."""
    length_penalty: float = Field(default=1.0, ge=0.0, le=5.0)
    """beam, joint: finished texts are compared by log-probability / length^x. 0 = short texts win,
    1 = the mean of a token decides."""
    ctc_weight: float = Field(default=0.3, ge=0.0, le=1.0)
    """joint: share of the CTC prefix score; the decoder has the rest."""
    max_length: int = Field(default=100, ge=1, le=2000)
    """The most tokens of a text that the decoder writes; then it has to end."""
    temperature: float = Field(default=1.0, gt=0.0, le=10.0)
    """sample: below 1 likely tokens become likelier."""
    top_k: int = Field(default=0, ge=0)
    """sample: only the k likeliest tokens; 0 = all."""
    top_p: float = Field(default=1.0, gt=0.0, le=1.0)
    """sample: only the likeliest tokens that together reach this probability."""
    seed: int = Field(default=0, ge=0)
    """sample: of the draws; the same for each clip, so that a text depends on its clip alone."""
