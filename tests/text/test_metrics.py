from __future__ import annotations

import math

import pytest

from slrtune.text.metrics import signature, text_metrics

ENGLISH = ["the cat sat on the mat today", "a dog barked at the old man"]


@pytest.mark.parametrize(
    "references",
    [
        ENGLISH,
        ["مرحبا كيف حالك يا صديقي؟"],
        ["आप कैसे हैं मेरे मित्र?"],
        ["今天天气很好,我们去公园。"],
        ["HI"],
    ],
)
def test_the_same_text_is_perfect_in_every_script_and_length(references: list[str]) -> None:
    scores = text_metrics(references, references)
    assert scores.pop("wer") == 0.0
    assert scores == pytest.approx(dict.fromkeys(scores, 100.0))


def test_bleu_is_what_its_paper_defines() -> None:
    """Unigrams 5 of 6, bigrams 3 of 5, trigrams 1 of 4; the hypothesis is as long."""
    scores = text_metrics(["the cat sat on a mat"], ["the cat sits on a mat"])
    assert scores["bleu1"] == pytest.approx(100 * 5 / 6)
    assert scores["bleu2"] == pytest.approx(100 * math.sqrt(5 / 6 * 3 / 5))
    assert scores["bleu3"] == pytest.approx(100 * (5 / 6 * 3 / 5 * 1 / 4) ** (1 / 3))
    assert scores["bleu"] == scores["bleu4"] > 0


def test_wer_counts_words_of_the_corpus_and_rouge_each_sentence() -> None:
    scores = text_metrics(["the cat sat", "dog"], ["the cat sat on", "a dog"])
    assert scores["wer"] == pytest.approx(2 / 6)
    assert scores["rouge_l"] == pytest.approx(100 * (6 / 7 + 2 / 3) / 2)


def test_chinese_is_counted_by_character() -> None:
    scores = text_metrics(["我喜欢他"], ["我喜欢你"])
    assert scores["wer"] == pytest.approx(1 / 4)
    assert "tok:zh" in signature(["我喜欢你"])


@pytest.mark.parametrize(
    ("reference", "tokenization"),
    [
        ("the cat", "13a"),
        ("あなたが好き", "char"),
        ("ฉันรักคุณ", "char"),
        ("नमस्ते।", "intl"),
        ("", "13a"),
    ],
)
def test_the_signature_names_the_tokens_of_the_script(reference: str, tokenization: str) -> None:
    text = signature([reference])
    assert f"tok:{tokenization}|" in text
    assert "version:" in text and "chrF2|" in text and "jiwer:" in text


def test_empty_texts_count_and_give_no_nan() -> None:
    for said, meant in (([""], ["a b"]), (["a b"], [""]), ([""], [""]), (["", "a"], ["b", ""])):
        scores = text_metrics(said, meant)
        assert all(math.isfinite(score) for score in scores.values())
    assert text_metrics([""], ["a b"])["wer"] == 1.0
    assert text_metrics(["a b"], [""])["wer"] == 2.0
    with pytest.raises(ValueError, match="0 hypotheses for 0 references"):
        text_metrics([], [])
