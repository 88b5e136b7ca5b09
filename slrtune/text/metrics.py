"""How good translations are: BLEU, chrF, WER and ROUGE-L over a whole corpus.

On detokenized text; what was counted as a token stands in the signature. One hypothesis and one
reference per clip; gathering them over workers is the caller's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.metadata import version

import jiwer
from rapidfuzz.distance import LCSseq
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

_MAX_ORDER = 4
# scripts written without spaces between words
_CHINESE = re.compile(r"[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_OTHER_SPACELESS = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff]")
_EUROPEAN = re.compile(r"[A-Za-z\u00aa-\u052f\u1e00-\u1fff]")


def text_metrics(hypotheses: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """All metrics of a corpus; never NaN, also where texts are empty.

    Returns:
        ``bleu`` (= ``bleu4``), ``bleu1`` to ``bleu4``, ``chrf`` and ``rouge_l`` from 0 to 100;
        ``wer`` as a fraction: 1.0 = as many errors as the references have words, and may be more.

    Raises:
        ValueError: no text at all, or not one hypothesis per reference.
    """
    if not references or len(hypotheses) != len(references):
        raise ValueError(f"{len(hypotheses)} hypotheses for {len(references)} references")
    tokenize = _bleu_tokenization(references)
    result = {
        f"bleu{order}": _bleu(references, tokenize, order)
        .corpus_score(hypotheses, [references])
        .score
        for order in range(1, _MAX_ORDER + 1)
    }
    result["bleu"] = result[f"bleu{_MAX_ORDER}"]
    result["chrf"] = CHRF().corpus_score(hypotheses, [references]).score
    as_words = [_words(text, tokenize) for text in (*hypotheses, *references)]
    said, meant = as_words[: len(hypotheses)], as_words[len(hypotheses) :]
    return {**result, "wer": _wer(said, meant), "rouge_l": _rouge_l(said, meant)}


def signature(references: Sequence[str]) -> str:
    """What the figures of `text_metrics` on these references mean, for comparison with others'."""
    tokenize = _bleu_tokenization(references)
    bleu = _bleu(references, tokenize, _MAX_ORDER)
    bleu.corpus_score(references, [references])  # sacrebleu counts the references only then
    chrf = CHRF()
    chrf.corpus_score(references, [references])
    words = "space" if _has_spaces(tokenize) else f"{tokenize}"
    return (
        f"BLEU|{bleu.get_signature()} chrF2|{chrf.get_signature()} "
        f"WER|tok:{words}|jiwer:{version('jiwer')} ROUGE-L|f1|mean|tok:{words}"
    )


def _bleu_tokenization(references: Sequence[str]) -> str:
    """sacrebleu's name for how the references' script falls into tokens.

    ``13a``, WMT's, knows ASCII punctuation only: European scripts. ``intl`` parts all punctuation
    of Unicode, such as the danda of Hindi. ``zh`` takes each Chinese character alone, ``char``
    each character: Japanese, Thai, Khmer, Lao, Burmese.
    """
    text = "".join(references)
    counts = {
        "zh": len(_CHINESE.findall(text)),
        "char": len(_OTHER_SPACELESS.findall(text)),
        "13a": len(_EUROPEAN.findall(text)),
    }
    counts["intl"] = sum(map(str.isalpha, text)) - sum(counts.values())
    if counts["char"] > 0.1 * counts["zh"]:  # Japanese mixes its kana with Chinese characters
        counts["char"] += counts.pop("zh")
    largest = max(counts, key=lambda name: counts[name])
    return largest if counts[largest] > 0 else "13a"


def _has_spaces(tokenize: str) -> bool:
    return tokenize in ("13a", "intl")


def _bleu(references: Sequence[str], tokenize: str, order: int) -> BLEU:
    """BLEU up to n-grams of ``order``.

    Where no reference is that long (spelled words), the mean is taken over the orders that there
    are (``eff:yes``): it would be 0 for a perfect translation.
    """
    longest = max(len(_words(text, tokenize)) for text in references)
    return BLEU(tokenize=tokenize, max_ngram_order=order, effective_order=longest < order)


def _words(text: str, tokenize: str) -> list[str]:
    """What WER and ROUGE-L count: words, or characters where words have no spaces."""
    if _has_spaces(tokenize):
        return text.split()
    if tokenize == "char":
        return list("".join(text.split()))
    return _CHINESE.sub(r" \g<0> ", text).split()


def _wer(hypotheses: Sequence[list[str]], references: Sequence[list[str]]) -> float:
    counted = jiwer.process_words(
        [" ".join(words) for words in references], [" ".join(words) for words in hypotheses]
    )
    errors = counted.substitutions + counted.deletions + counted.insertions
    return errors / max(1, sum(map(len, references)))


def _rouge_l(hypotheses: Sequence[list[str]], references: Sequence[list[str]]) -> float:
    """Mean F1 of the longest common subsequence, from 0 to 100; two empty texts agree."""
    scores = [
        2 * LCSseq.similarity(said, meant) / (len(said) + len(meant)) if said or meant else 1.0
        for said, meant in zip(hypotheses, references, strict=True)
    ]
    return 100 * sum(scores) / len(scores)
