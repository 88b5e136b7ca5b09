"""The ids that every vocabulary begins with; the same V serves CTC and cross-entropy."""

from __future__ import annotations

PAD, BOS, EOS, UNK = 0, 1, 2, 3
"""Padding, which is also the blank of CTC; beginning; end; what the vocabulary does not have."""
SPECIALS = ("<pad>", "<bos>", "<eos>", "<unk>")
"""Their names, in the order of their ids."""
