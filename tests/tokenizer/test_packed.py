"""Words found by their bytes are those that a dict would find."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskling.tokenizer import lookup
from maskling.tokenizer.lookup import ByteCut, PackedWords, byte_kinds, cut

HOW = ByteCut(byte_kinds(" \n", "!."), lowers=True)
# Each the beginning of others, with lengths on both sides of eight and of sixteen bytes.
WORDS = st.builds(lambda length, last: "a" * length + last, st.integers(0, 19), st.sampled_from("ab\u00e9"))
TEXTS = st.lists(st.lists(st.one_of(WORDS, st.sampled_from(" \n!."), st.just(" ")), max_size=30).map("".join))


def spelled(words: lookup.Words) -> list[str]:
    spans = zip(words.firsts, words.ends, strict=True)
    return [words.data[first:end].decode() for first, end in spans]


@given(batches=st.lists(TEXTS, max_size=5), bits=st.sampled_from([1, 12]))
def test_places_are_those_of_a_dict(batches: list[list[str]], bits: int):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lookup, "_FIRST_BITS", bits)  # at one, every word meets others and the table grows at once
        known, places, asked = PackedWords(), {}, []

        def ask(words: list[str]) -> np.ndarray:
            asked.extend(words)
            return np.array([places.setdefault(word, len(places)) for word in words], np.int64)

        for texts in batches:
            words = cut(texts, HOW)
            assert words is not None
            found = known.places(words, ask)
            assert found.tolist() == [places[word] for word in spelled(words)]
        before = len(asked)
        for texts in batches:
            known.places(cut(texts, HOW), ask)
        # What fits is asked for once.
        assert all(len(word.encode()) > lookup.LONGEST for word in asked[before:])


@given(texts=TEXTS)
def test_words_and_marks_of_each_text(texts: list[str]):
    words = cut(texts, HOW)
    expected = [text.replace("!", " ! ").replace(".", " . ").split() for text in texts]
    assert spelled(words) == [word for each in expected for word in each]
    assert np.diff(words.counts).tolist() == [len(each) for each in expected]


def test_capitals_of_ascii_become_small_and_no_others():
    assert spelled(cut(["AbC \u00c9a"], HOW)) == ["abc", "\u00c9a"]
    assert spelled(cut(["AbC"], HOW._replace(lowers=False))) == ["AbC"]


@pytest.mark.parametrize("text", ["a\0b", "a\ud800b"])
def test_what_has_no_room_is_left_to_others(text: str):
    assert cut([text], HOW) is None
