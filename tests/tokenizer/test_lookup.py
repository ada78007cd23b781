"""Splitting as bytes and looking words up by hash give the same result as strings and a dict."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskling.tokenizer import lookup
from maskling.tokenizer.lookup import ByteSplit, WordHashTable, byte_kinds, split_bytes

RULES = ByteSplit(byte_kinds(" \n", "!."), lower=bytes(range(256)).lower())
# Prefixes of each other, with lengths on both sides of 8 and of 16 bytes.
WORDS = st.builds(lambda length, last: "a" * length + last, st.integers(0, 19), st.sampled_from("ab\u00e9"))
TEXTS = st.lists(st.lists(st.one_of(WORDS, st.sampled_from(" \n!."), st.just(" ")), max_size=30).map("".join))


def spelled(words: lookup.WordSpans) -> list[str]:
    spans = zip(words.firsts, words.ends, strict=True)
    return [words.data[first:end].decode() for first, end in spans]


@given(batches=st.lists(TEXTS, max_size=5), bits=st.sampled_from([1, 12]))
def test_indices_equal_those_of_a_dict(batches: list[list[str]], bits: int):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lookup, "_FIRST_SLOT_BITS", bits)  # with one bit, words collide and the table grows at once
        table, index_of, requested = WordHashTable(), {}, []

        def index_new(words: list[str]) -> np.ndarray:
            requested.extend(words)
            return np.array([index_of.setdefault(word, len(index_of)) for word in words], np.int64)

        for texts in batches:
            words = split_bytes(texts, RULES)
            assert words is not None
            found = table.indices(words, index_new)
            assert found.tolist() == [index_of[word] for word in spelled(words)]
        before = len(requested)
        for texts in batches:
            table.indices(split_bytes(texts, RULES), index_new)
        # A word that fits is requested once.
        assert all(len(word.encode()) > lookup.MAX_HASHED_BYTES for word in requested[before:])


@given(texts=TEXTS)
def test_words_and_punctuation_of_each_text(texts: list[str]):
    words = split_bytes(texts, RULES)
    expected = [text.replace("!", " ! ").replace(".", " . ").split() for text in texts]
    assert spelled(words) == [word for each in expected for word in each]
    assert np.diff(words.counts).tolist() == [len(each) for each in expected]


def test_only_ascii_is_lowercased():
    assert spelled(split_bytes(["AbC \u00c9a"], RULES)) == ["abc", "\u00c9a"]
    assert spelled(split_bytes(["AbC"], RULES._replace(lower=None))) == ["AbC"]


@pytest.mark.parametrize("text", ["a\0b", "a\ud800b"])
def test_text_that_cannot_be_split_as_bytes_gives_none(text: str):
    assert split_bytes([text], RULES) is None
