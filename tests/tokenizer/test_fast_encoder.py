"""The fast encoder gives the ids and word starts of the library."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import tokenizers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from maskling.tokenizer import characters, fast_encoder, word_starts
from maskling.tokenizer.characters import character_word_starts
from maskling.tokenizer.encoding import from_encodings
from maskling.tokenizer.library import library_to_json, with_special_as_text
from maskling.tokenizer.pre_split import chunking
from maskling.tokenizer.tokenizer import Tokenizer
from oracles.nasty_text import FRAGMENTS, nasty, pairs_of_fragments

MANY = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])

# One text in four, and all of them in the slow suite.
SHARES = pytest.mark.parametrize("share", [4, pytest.param(1, marks=pytest.mark.slow)])


@pytest.fixture(params=["strings", "bytes"], autouse=True)
def split_as(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How short texts are split; without this fixture they would all be split as strings."""
    if request.param == "bytes":
        monkeypatch.setattr(fast_encoder, "_MIN_BYTES_CHARACTERS", 0)
    return request.param


def plain(tokenizer: Tokenizer) -> tokenizers.Tokenizer:
    """The library's tokenizer, which encodes special tokens as plain text."""
    return with_special_as_text(tokenizer._library, set(tokenizer._special_tokens.values()))


@MANY
@given(batch=st.lists(nasty, max_size=6))
def test_ids_equal_those_of_the_library_on_nasty_text(tokenizer: Tokenizer, batch: list[str]):
    expected = [encoding.ids for encoding in plain(tokenizer).encode_batch(batch, add_special_tokens=False)]
    for _ in range(2):  # encoded by the library, then looked up
        assert [tokens.ids.tolist() for tokens in tokenizer.encode_batch(batch)] == expected


@MANY
@given(text=nasty)
def test_word_starts_equal_those_from_the_offsets_of_the_whole_text(tokenizer: Tokenizer, text: str):
    tokens = tokenizer.encode(text)
    text = tokenizer._encoder._library_encoder.offsets_text(text)
    encoding = plain(tokenizer).encode(text, add_special_tokens=False)
    assert tokens.ids.tolist() == encoding.ids
    if tokenizer.kind == "WordPiece":
        expected = from_encodings([text], [encoding], tokenizer._spelling, tokenizer.words).word_starts.tolist()
        if not tokenizer.words.apply_to(text):
            assert expected == [not token.startswith("##") for token in encoding.tokens]
    else:
        expected = word_starts.word_starts(text, encoding, character_word_starts(text, tokenizer.words)).tolist()
    assert tokens.word_starts.tolist() == expected


def test_every_trained_kind_can_be_split_into_chunks(tokenizer: Tokenizer):
    assert chunking(library_to_json(tokenizer._library), set(tokenizer._special_tokens.values())) is not None


@SHARES
def test_fragments_alone_and_in_pairs(tokenizer: Tokenizer, share: int):
    batch = pairs_of_fragments(share)
    expected = [encoding.ids for encoding in plain(tokenizer).encode_batch(batch, add_special_tokens=False)]
    assert [tokens.ids.tolist() for tokens in tokenizer.encode_batch(batch)] == expected


@SHARES
def test_every_character_between_letters_and_alone(tokenizer: Tokenizer, share: int):
    batch = [
        text
        for code in range(1, 0x30000, share * (7 if tokenizer.kind == "WordPiece" else 31))
        if not 0xD800 <= code < 0xE000
        for text in (f"the{chr(code)}fox {chr(code)} dog",)
    ]
    expected = [encoding.ids for encoding in plain(tokenizer).encode_batch(batch, add_special_tokens=False)]
    assert [tokens.ids.tolist() for tokens in tokenizer.encode_batch(batch)] == expected


def test_white_space_is_that_of_the_library():
    splitter = tokenizers.pre_tokenizers.WhitespaceSplit()
    codes = [code for code in range(1, 0x110000) if not 0xD800 <= code < 0xE000]
    found = {chr(code) for code in codes if len(splitter.pre_tokenize_str(f"a{chr(code)}b")) == 2}
    assert found == set(characters.SPACES)


def test_a_full_table_is_replaced_without_changing_ids(tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fast_encoder, "MAX_TABLE_TEXTS", 5)
    tokenizer = pickle.loads(pickle.dumps(tokenizer))
    for first in range(0, len(FRAGMENTS), 10):
        batch = FRAGMENTS[first : first + 10]
        expected = [encoding.ids for encoding in plain(tokenizer).encode_batch(batch, add_special_tokens=False)]
        assert [tokens.ids.tolist() for tokens in tokenizer.encode_batch(batch)] == expected
        assert len(tokenizer._encoder._chunks) < 60


def test_long_batches_are_split_between_texts(tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch):
    batch = ["the quick brown fox", "", "jumps", " ", "over 1,000 dogs. " * 5, ""]
    expected = [tokens.ids.tolist() for tokens in tokenizer.encode_batch(batch)]
    monkeypatch.setattr(fast_encoder, "_MAX_BATCH_CHARACTERS", 10)
    assert [tokens.ids.tolist() for tokens in tokenizer.encode_batch(batch)] == expected


def test_only_bert_tokenizers_split_texts_as_bytes(tokenizer: Tokenizer, split_as: str):
    tokenizer = pickle.loads(pickle.dumps(tokenizer))
    tokenizer.encode_batch(["The quick brown fox.", "It jumps!"])
    as_bytes = split_as == "bytes" and tokenizer.kind == "WordPiece"
    assert (len(tokenizer._encoder._chunks) == 0) == as_bytes


def test_no_texts_and_empty_texts(tokenizer: Tokenizer):
    assert tokenizer.encode_batch([]) == []
    assert [len(tokens) for tokens in tokenizer.encode_batch(["", ""])] == [0, 0]
    flat = tokenizer.encode_flat(["", "the", ""])
    assert flat.offsets.tolist() == [0, 0, len(flat.ids), len(flat.ids)]
    assert flat.ids.dtype == np.int32
    assert flat.word_starts.dtype == np.bool_


def test_half_a_surrogate_pair_is_encoded_as_the_replacement_character(tokenizer: Tokenizer):
    for special in (False, True):
        half, whole = (tokenizer.encode(f"the {mark} fox", special).ids.tolist() for mark in ("\ud800", "\ufffd"))
        assert half == whole


@MANY
@given(pieces=st.lists(nasty.map(str.strip).filter(bool), min_size=1, max_size=5))
def test_slices_with_their_leading_white_space_have_the_tokens_of_the_whole(tokenizer: Tokenizer, pieces: list[str]):
    slices = [pieces[0].strip(characters.SPACES) or "x"]
    for index, piece in enumerate(pieces[1:]):
        slices.append((" ", "\n", "\n\n", "  ")[index % 4] + (piece.strip(characters.SPACES) or "x"))
    if tokenizer.kind != "WordPiece":
        # A slice that is empty after accents are removed would join two runs of white space.
        normal = tokenizer._library.normalizer.normalize_str
        slices = [piece for piece in slices if normal(piece.strip(characters.SPACES)).strip(characters.SPACES)]
        slices = [piece for piece in slices if normal(piece)[-1] not in characters.SPACES]
    whole = tokenizer.encode("".join(slices))
    parts = tokenizer.encode_batch(slices)
    assert [id_ for part in parts for id_ in part.ids.tolist()] == whole.ids.tolist()
