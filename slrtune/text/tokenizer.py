"""Sentences to ids and back: characters, words, BPE or unigram pieces, in any script.

Trained on the training sentences only and kept as JSON inside the checkpoint.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import Any, Literal, get_args

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from tokenizers.normalizers import NFC, Lowercase, Normalizer
from tokenizers.normalizers import Sequence as Normalizers

from slrtune.config.errors import UserError
from slrtune.text.ids import SPECIALS, UNK

TokenizerKind = Literal["char", "word", "bpe", "unigram"]
_VERSION = 1
_NUM_PIECES = 8000
_SPACE = "▁"
"""Stands for a space within tokens, so that joining them gives the text back."""


class TextTokenizer:
    """Ids without specials from 4 on; `PAD`, `BOS`, `EOS`, `UNK` before them.

    `decode(encode(text))` is `normalize(text)` where the vocabulary has all of it. Text that names
    a special token, such as ``<pad>``, is text.
    """

    def __init__(self, tokenizer: Tokenizer, kind: TokenizerKind) -> None:
        tokenizer.encode_special_tokens = True
        self._tokenizer, self.kind = tokenizer, kind

    @classmethod
    def train(
        cls,
        sentences: Sequence[str],
        kind: TokenizerKind,
        vocab_size: int | None = None,
        *,
        lowercase: bool = False,
    ) -> TextTokenizer:
        """Learn the vocabulary of ``sentences``; the same sentences give the same vocabulary.

        Args:
            kind: ``char``: every character. ``word``: words, punctuation and Chinese characters.
                ``bpe``, ``unigram``: pieces of words as the two algorithms choose them.
            vocab_size: V at most, specials included: the most frequent; None = all characters or
                words, 8000 pieces. Pieces always include every character.

        Raises:
            UserError: no text, or fewer entries than specials and characters.
        """
        tokenizer = Tokenizer(_empty_model(kind))
        tokenizer.normalizer = Normalizers([NFC(), Lowercase()] if lowercase else [NFC()])
        tokenizer.pre_tokenizer, tokenizer.decoder = _splitting(kind)
        normalized = (_normalized(text, tokenizer.normalizer) for text in sentences)
        texts = sorted(text for text in normalized if text)
        _check(texts, kind, vocab_size)
        if kind == "unigram":
            tokenizer.model = _unigram(texts, vocab_size or _NUM_PIECES)
        else:
            tokenizer.train_from_iterator(texts, _trainer(kind, vocab_size))
        return cls(tokenizer, kind)

    @property
    def vocab_size(self) -> int:
        """V, specials included."""
        return self._tokenizer.get_vocab_size()

    def normalize(self, text: str) -> str:
        """The text as the model learns it: NFC, single spaces, in lower case where so trained.

        What a hypothesis is compared with.
        """
        return _normalized(text, self._tokenizer.normalizer)

    def encode(self, text: str) -> list[int]:
        """Ids without `BOS` and `EOS`; what the vocabulary does not have is `UNK`."""
        ids = self._tokenizer.encode(self.normalize(text), add_special_tokens=False).ids
        return [max(i, UNK) for i in ids]  # never a special: the text may spell its name

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ``ids``, specials left out."""
        kept = [int(i) for i in ids if i > UNK]
        text: str = self._tokenizer.decode(kept, skip_special_tokens=False)
        return " ".join(text.split())

    def token(self, token_id: int) -> str:
        """One entry of the vocabulary as it is written, for tables."""
        return self._tokenizer.id_to_token(token_id) or ""

    def to_json(self) -> str:
        """All of it; `from_json` gives it back."""
        inner = json.loads(self._tokenizer.to_str())
        content = {"slrtune_tokenizer": _VERSION, "kind": self.kind, "tokenizer": inner}
        return json.dumps(content, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> TextTokenizer:
        """The tokenizer that `to_json` wrote.

        Raises:
            UserError: something else, or another version.
        """
        try:
            content: dict[str, Any] = json.loads(text)
            version, kind = content["slrtune_tokenizer"], content["kind"]
            if version != _VERSION or kind not in get_args(TokenizerKind):
                raise ValueError(f"version {version}, kind {kind!r}")
            return cls(Tokenizer.from_str(json.dumps(content["tokenizer"])), kind)
        except Exception as error:  # tokenizers raises a bare Exception
            raise UserError(
                f"tokenizer: must be JSON of version {_VERSION} as training saves it, but "
                f"{error!r}; take the tokenizer of the checkpoint"
            ) from error


def _normalized(text: str, normalizer: Normalizer) -> str:
    return " ".join(str(normalizer.normalize_str(text)).replace(_SPACE, " ").split())


def _empty_model(kind: TokenizerKind) -> Any:
    if kind == "bpe":
        return models.BPE(unk_token=SPECIALS[UNK])
    if kind == "unigram":
        return models.Unigram()
    return models.WordLevel(unk_token=SPECIALS[UNK])


def _splitting(kind: TokenizerKind) -> tuple[Any, Any]:
    """How text falls into parts, and how parts make text again."""
    if kind == "char":
        return pre_tokenizers.Split(Regex("."), "isolated"), decoders.Fuse()
    words: Any = pre_tokenizers.Metaspace(_SPACE)
    if kind == "word":
        punctuation = pre_tokenizers.Split(Regex(r"\p{P}|\p{S}(?<!▁)"), "isolated")
        # Chinese has no spaces: a character is the nearest to a word that needs no dictionary
        chinese = pre_tokenizers.Split(Regex(r"\p{Han}"), "isolated")
        words = pre_tokenizers.Sequence([words, punctuation, chinese])
    return words, decoders.Metaspace(_SPACE)


def _trainer(kind: TokenizerKind, vocab_size: int | None) -> Any:
    specials = list(SPECIALS)
    if kind == "bpe":
        return trainers.BpeTrainer(
            vocab_size=vocab_size or _NUM_PIECES, special_tokens=specials, show_progress=False
        )
    return trainers.WordLevelTrainer(
        vocab_size=vocab_size or 2**31, special_tokens=specials, show_progress=False
    )


def _unigram(texts: Sequence[str], vocab_size: int) -> Any:
    """The unigram model of Kudo (2018) as sentencepiece learns it.

    The trainer of `tokenizers` adds up in the order of a hash map: each run and each worker would
    have other ids.
    """
    import sentencepiece  # only who trains such a tokenizer needs it

    written = io.BytesIO()
    ids: Any = {f"{name[1:-1]}_id": number for number, name in enumerate(SPECIALS)}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=written,
        model_type="unigram",
        vocab_size=vocab_size,
        hard_vocab_limit=False,
        character_coverage=1.0,
        normalization_rule_name="identity",
        max_sentence_length=1 << 20,  # bytes; longer ones would be left out
        num_threads=1,
        minloglevel=2,
        **ids,
    )
    pieces = sentencepiece.SentencePieceProcessor(model_proto=written.getvalue())
    learnt = [(pieces.id_to_piece(i), pieces.get_score(i)) for i in range(len(pieces))]
    specials = [(name, 0.0) for name in SPECIALS]
    return models.Unigram(specials + learnt[len(SPECIALS) :], unk_id=UNK, byte_fallback=False)


def _check(texts: Sequence[str], kind: TokenizerKind, vocab_size: int | None) -> None:
    if not texts:
        raise UserError(
            "text: a tokenizer is trained on the sentences of the training split, but there is "
            "none with text; give annotations with a column sentence"
        )
    has_pieces = kind in ("bpe", "unigram")
    lowest = len(SPECIALS) + (len(set("".join(texts)) | {_SPACE}) if has_pieces else 1)
    if vocab_size is not None and vocab_size < lowest:
        what = "every character of the training text" if has_pieces else "one entry"
        raise UserError(
            f"text.vocab_size: must hold the {len(SPECIALS)} specials and {what}, {lowest} in all, "
            f"but is {vocab_size}; raise it or leave it out"
        )
