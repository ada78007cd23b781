"""Small tokenizers of every kind, trained here."""

from __future__ import annotations

import pytest

from maskling.tokenizer.settings import TokenizerSettings
from maskling.tokenizer.tokenizer import Tokenizer
from maskling.tokenizer.training import count_words, train
from oracles.small_text import texts

RECIPES = {
    "wordpiece": {"kind": "wordpiece"},
    "wordpiece-cased": {"kind": "wordpiece", "lowercase": False},
    "wordpiece-cased-stripped": {"kind": "wordpiece", "lowercase": False, "strip_accents": True},
    "wordpiece-accents": {"kind": "wordpiece", "strip_accents": False},
    "wordpiece-unsplit": {"kind": "wordpiece", "split_chinese": False},
    "bpe": {"kind": "bpe"},
    "bpe-cased": {"kind": "bpe", "lowercase": False},
    "unigram": {"kind": "unigram"},
    "unigram-cased": {"kind": "unigram", "lowercase": False},
}


def small(recipe: str, **changes: object) -> Tokenizer:
    """A tokenizer of 600 pieces at most."""
    fields = {"vocab_size": 600, "min_count": 1, "chinese_words": "characters"} | RECIPES[recipe] | changes
    settings = TokenizerSettings(**fields)
    return train(count_words(texts(), settings), settings)


@pytest.fixture(scope="session", params=RECIPES)
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    """One of every kind in turn."""
    return small(request.param)
