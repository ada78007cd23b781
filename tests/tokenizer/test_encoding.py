"""Character spans of tokens, for every kind of tokenizer."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from maskling.tokenizer.encoding import token_spans
from maskling.tokenizer.tokenizer import Tokenizer
from oracles.small_text import texts
from oracles.tokenizer_recipes import RECIPES, small

pieces = st.lists(
    st.sampled_from([*" \n\u3000", "fox", "Naïve", "e\u0301", "中国", "，", "😀", "'t", "  "]), max_size=8
)


@pytest.mark.parametrize("recipe", RECIPES)
@settings(max_examples=15)
@given(text=pieces.map("".join))
def test_ids_equal_encode_batch_and_spans_cover_all_letters_without_surrounding_space(recipe, text):
    tokenizer = small(recipe)
    (found,) = tokenizer.encode_with_offsets([text])
    assert found.ids.tolist() == tokenizer.encode(text).ids.tolist()
    covered = set()
    for begin, end in zip(found.begins.tolist(), found.ends.tolist(), strict=True):
        assert 0 <= begin <= end <= len(text)
        assert text[begin:end].strip(" \n\u3000") == text[begin:end]
        covered |= set(range(begin, end))
    letters = {index for index, character in enumerate(text) if character not in " \n\u3000\u0301"}
    assert letters <= covered


def test_spaces_on_either_side_of_a_token_are_not_in_its_span():
    # No tokenizer trained here makes a token with a space after it, but a loaded one may.
    encoding = SimpleNamespace(ids=[5, 6, 7], offsets=[(0, 4), (4, 8), (8, 10)])
    (found,) = token_spans([" fox dog  "], [encoding])
    assert list(zip(found.begins.tolist(), found.ends.tolist(), strict=True)) == [(1, 4), (5, 8), (8, 8)]
    (found,) = token_spans(["fox dog"], [SimpleNamespace(ids=[5, 6], offsets=[(0, 4), (4, 7)])])
    assert list(zip(found.begins.tolist(), found.ends.tolist(), strict=True)) == [(0, 3), (4, 7)]


def test_words_can_be_read_back_from_token_spans():
    for recipe in ("wordpiece", "bpe-cased", "unigram"):
        tokenizer = small(recipe)
        for text, found in zip(texts(), tokenizer.encode_with_offsets(texts()), strict=True):
            starts = np.flatnonzero(tokenizer.encode(text).word_starts)
            position = text.find("brown")
            if position >= 0:
                token = int(np.flatnonzero(found.begins == position)[0])
                last = int(starts[np.searchsorted(starts, token, side="right")]) - 1
                assert text[found.begins[token] : found.ends[last]] == "brown"


def test_half_a_surrogate_pair_keeps_the_positions_of_the_text_after_it():
    (found,) = small("bert").encode_with_offsets(["\ud800 fox"])
    assert "\ud800 fox"[found.begins[0] : found.ends[-1]] == "fox"


@pytest.mark.parametrize(("recipe", "form"), [("wordpiece", "BertProcessing"), ("bpe", "RobertaProcessing")])
def test_separators_between_segments_are_those_of_the_tokenizer(recipe, form):
    tokenizer = small(recipe)
    library = tokenizers.Tokenizer.from_str(json.dumps(tokenizer.tokenizer_json))
    processor = getattr(tokenizers.processors, form)
    names = tokenizer.token(tokenizer.special.sep), tokenizer.token(tokenizer.special.cls)
    library.post_processor = processor(*((name, library.token_to_id(name)) for name in names))
    names = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
    assert Tokenizer(library, names).num_separators == (2 if form == "RobertaProcessing" else 1)
