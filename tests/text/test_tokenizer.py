from __future__ import annotations

import subprocess
import sys

import pytest

from slrtune.config.errors import UserError
from slrtune.text.ids import SPECIALS, UNK
from slrtune.text.tokenizer import TextTokenizer, TokenizerKind

SENTENCES = {
    "english": ["Hello, how are you?", "I'm fine, thank you.", "She said “no”.", "$5 or 5 %"],
    "arabic": ["مرحبا، كيف حالك؟", "أنا بخير شكرا", "السَّلامُ عليكم"],
    "devanagari": ["नमस्ते, आप कैसे हैं?", "मैं ठीक हूँ।", "धन्यवाद मित्र।"],
    "chinese": ["我喜欢你。", "今天天气很好,我们去公园。", "他说 hello 吗?"],
}
KINDS: tuple[TokenizerKind, ...] = ("char", "word", "bpe", "unigram")


@pytest.mark.parametrize("script", SENTENCES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_the_text_of_every_script_back(kind: TokenizerKind, script: str) -> None:
    tokenizer = TextTokenizer.train(SENTENCES[script], kind)
    again = TextTokenizer.from_json(tokenizer.to_json())
    for sentence in SENTENCES[script]:
        ids = tokenizer.encode(sentence)
        assert min(ids) > UNK and max(ids) < tokenizer.vocab_size
        assert tokenizer.decode(ids) == tokenizer.normalize(sentence) == sentence
        assert again.encode(sentence) == ids and again.decode(ids) == sentence


@pytest.mark.parametrize("kind", KINDS)
def test_another_process_and_order_learn_the_same_vocabulary(kind: TokenizerKind) -> None:
    sentences = [text for texts in SENTENCES.values() for text in texts]
    code = (
        "import sys; from slrtune.text.tokenizer import TextTokenizer\n"
        f"print(TextTokenizer.train({sentences[::-1]!r}, {kind!r}, 120).to_json())"
    )
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert printed.stdout.decode().strip() == TextTokenizer.train(sentences, kind, 120).to_json()


def test_the_names_of_specials_in_a_text_are_no_specials() -> None:
    for kind in KINDS:
        tokenizer = TextTokenizer.train([*SENTENCES["english"], "a <b>"], kind)
        assert min(tokenizer.encode("you <pad> <eos>you")) >= UNK
        assert [tokenizer.token(i) for i in range(4)] == list(SPECIALS)


def test_what_the_training_sentences_lack_is_unknown_and_not_decoded() -> None:
    tokenizer = TextTokenizer.train(["a cat", "a dog"], "word")
    assert tokenizer.encode("a bird")[1:] == [UNK]
    assert tokenizer.decode([1, *tokenizer.encode("a bird"), 2, 0]) == "a"


def test_words_are_kept_by_frequency_and_in_lower_case_on_request() -> None:
    tokenizer = TextTokenizer.train(["The cat", "the dog", "THE end"], "word", 5, lowercase=True)
    assert tokenizer.vocab_size == 5
    assert tokenizer.decode(tokenizer.encode("The  DOG")) == "the"
    assert tokenizer.normalize(" The\tDOG ") == "the dog"


@pytest.mark.parametrize(
    ("sentences", "size", "rule"),
    [([" "], None, "text: a tokenizer"), (["abc def"], 6, "text.vocab_size: must hold")],
)
def test_no_text_or_no_room_for_the_characters_is_said(
    sentences: list[str], size: int | None, rule: str
) -> None:
    with pytest.raises(UserError, match=rule):
        TextTokenizer.train(sentences, "unigram", size)


def test_something_else_than_a_tokenizer_is_said() -> None:
    with pytest.raises(UserError, match="must be JSON of version 1"):
        TextTokenizer.from_json('{"model": 1}')
