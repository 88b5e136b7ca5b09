"""`text:` how the sentences of a translator become tokens."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from slrtune.config.base import Settings


class TextConfig(Settings):
    """The vocabulary, learnt from the sentences of the training split; any script."""

    tokenizer: Literal["char", "word", "bpe", "unigram"] = "bpe"
    """`char`: each character. `word`: words, punctuation, Chinese characters. `bpe`, `unigram`:
    pieces of words, which can write words that training never showed."""
    vocab_size: int | None = Field(default=None, ge=5)
    """The most tokens; null = all characters or words, 8000 pieces."""
    lowercase: bool = False
    """Learn and write lower case only."""
