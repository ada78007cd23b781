"""Words counted as numbers are the words that BERT's normalizer and pre-tokenizer make of the whole text."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskling.tokenizer import pipeline, training
from maskling.tokenizer.settings import TokenizerSettings
from maskling.tokenizer.training import count_words

# What is cut, folded, dropped or kept by rules of its own, among words that repeat.
ODD = [
    "\0",
    "\ud800",
    "\x0b",
    "\x1f",
    "\x7f",
    "\u00a0",
    "\u200b",
    "\u0301",
    "İ",
    "ß",
    "ﬁ",
    "’",
    "…",
    "¿",
    "中国",
    "的",
    "，",
    "𝒳",
]
WORDS = [
    "the",
    "The",
    "THE",
    "don't",
    "naïve",
    "e\u0301",
    "x" * 16,
    "x" * 17,
    "y" * 40,
    "(a)",
    "3.14",
    "a_b",
    "$5",
    "--",
]
TEXT = st.lists(st.sampled_from([*ODD, *WORDS, " ", " ", "\n", "\t", "  "]), max_size=30).map("".join)


def by_the_library(texts: list[str], settings: TokenizerSettings) -> Counter[str]:
    normalizer, pre_tokenizer = pipeline.normalizer(settings), pipeline.pre_tokenizer("wordpiece")
    words: Counter[str] = Counter()
    for text in texts:
        whole = text.encode("utf-16", "surrogatepass").decode(
            "utf-16", "replace"
        )  # half a surrogate pair is no text for the library
        words.update(word for word, _ in pre_tokenizer.pre_tokenize_str(normalizer.normalize_str(whole)))
    return words


@given(
    texts=st.lists(TEXT, max_size=12),
    lowercase=st.booleans(),
    strips=st.sampled_from([None, True, False]),
    chinese=st.booleans(),
    first=st.sampled_from([1, 20, 1 << 14]),
    most=st.sampled_from([3, 1 << 18]),
)
def test_counts_are_the_librarys(
    texts: list[str], lowercase: bool, strips: bool | None, chinese: bool, first: int, most: int
):
    settings = TokenizerSettings(lowercase=lowercase, strip_accents=strips, split_chinese=chinese)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "_FIRST_BATCH", first)
        patch.setattr(training, "_MOST_CHUNKS", most)
        assert count_words(texts, settings) == by_the_library(texts, settings)


def test_plain_text_needs_no_library(monkeypatch: pytest.MonkeyPatch):
    asked: list[str] = []
    real = pipeline.pre_tokenizer("wordpiece")

    class Asked:
        def pre_tokenize_str(self, text: str) -> object:
            asked.append(text)
            return real.pre_tokenize_str(text)

    monkeypatch.setattr(pipeline, "pre_tokenizer", lambda _: Asked())
    texts = ["The quick brown fox, the lazy dog. " * 1000] * 20
    counts = count_words(texts, TokenizerSettings())
    assert counts["the"] == 2 * counts["fox"] == 40_000
    assert set(asked) == {",", "."}


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "unigram"])
@given(text=TEXT, times=st.integers(1, 5), first=st.integers(1, 30))
def test_a_long_text_is_counted_in_parts(kind: Any, text: str, times: int, first: int):
    settings = TokenizerSettings(kind=kind)
    whole = count_words([text * times], settings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "_FIRST_BATCH", first)
        patch.setattr(training, "_LONGEST_BATCH", 2 * first)
        assert count_words([text * times], settings) == whole


def test_a_book_on_one_line_takes_no_more_memory_than_its_words():
    book = "the quick brown fox jumps over the lazy dog " * 50_000
    longest = max(sum(map(len, batch)) for batch in training._batches([book, book]))
    assert longest < 1.1 * (1 << 20)
