"""The embedded data set for translation: synthetic signers spell words and short sentences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from slrtune.config.errors import UserError
from slrtune.data.synth.dataset import SpelledClip, check_pictures, signer_name, signer_splits

_WORDS = (
    "apple baby bad big bird black blue bread bus bye car cat cold come cup day dog drink eat "
    "fish food friend girl go good green hand happy hello help home hot house like love man milk "
    "mother new night no old please rain red road sad school see shop sister sleep small sorry "
    "sun tea thanks today train tree walk want water week white woman work yes"
)
#: Common words. Without J and Z, whose movement takes as long as three other letters.
LEXICON = tuple(_WORDS.split())
_MIN_LENGTH, _MAX_LENGTH = 5, 12
"""Characters of a sentence, spaces included: one number of frames suits all clips."""
_SENTENCES = 3  # names this stream of random numbers


@dataclass(frozen=True)
class SentenceSettings:
    """Sentences of 1 to ``max_words`` words, drawn for each signer; no signer is in two splits.

    Attributes:
        seed, num_signers, size_px: as of `SynthSettings`.
        fps: frames per second; a letter is about ``fps * letter_s`` frames long.
        letter_s: how long a letter is held at a signer's tempo of 1 (0.78 to 1.3).
        clips_per_signer: sentences of each signer of train; those of val and test spell half as
            many. All words come equally often.
        max_words: of a sentence.
    Raises:
        UserError: a value breaks a rule.
    """

    seed: int = 0
    num_signers: int = 16
    size_px: int = 64
    fps: int = 10
    letter_s: float = 0.4
    clips_per_signer: int = 28
    max_words: int = 3

    LABEL_COLUMN: ClassVar[str] = "sentence"

    def __post_init__(self) -> None:
        check_pictures(self.seed, self.num_signers, self.size_px, self.fps)
        if not 1 <= self.max_words <= 3 or not 1 <= self.clips_per_signer <= 1000:
            raise UserError(
                "synth: max_words must be 1 to 3 and clips_per_signer 1 to 1000, but they are "
                f"{self.max_words} and {self.clips_per_signer}; take 3 and 28"
            )
        if self.max_words == 1 and self.clips_per_signer > len(LEXICON):
            raise UserError(
                f"synth: clips_per_signer must be at most {len(LEXICON)}, as many as there are "
                f"words, but is {self.clips_per_signer}; lower it or raise max_words"
            )

    def clips(self) -> list[SpelledClip]:
        """The same sentences for the same seed; a signer repeats none."""
        clips = []
        for signer, split in enumerate(signer_splits(self.num_signers)):
            number = self.clips_per_signer if split == "train" else -(-self.clips_per_signer // 2)
            name = signer_name(signer)
            clips += [
                SpelledClip(f"{split}/{name}/{name}_{i:03d}.mp4", text.upper(), signer, text)
                for i, text in enumerate(self._sentences(signer, number))
            ]
        return clips

    def _sentences(self, signer: int, number: int) -> list[str]:
        rng = np.random.default_rng([self.seed, signer, _SENTENCES])
        sentences: dict[str, None] = {}
        deck: list[str] = []
        while len(sentences) < number:
            if len(deck) < self.max_words + 1:
                deck = [*deck, *rng.permutation(LEXICON).tolist()]
            words = [deck.pop(0)]
            for _ in range(int(rng.integers(self.max_words))):
                if len(" ".join([*words, deck[0]])) <= _MAX_LENGTH:
                    words.append(deck.pop(0))
            if len(text := " ".join(words)) >= _MIN_LENGTH or self.max_words == 1:
                sentences[text] = None
            else:
                deck += words  # too short alone: they come again in company
        return list(sentences)
