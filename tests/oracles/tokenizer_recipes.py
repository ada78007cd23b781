"""Small tokenizers of every kind, by name."""

from __future__ import annotations

import functools

from maskling.tokenizer.settings import TokenizerSettings
from maskling.tokenizer.tokenizer import Tokenizer
from maskling.tokenizer.training import count_words, train_vocabulary
from oracles.small_text import texts

RECIPES = {
    "bert": {"normalization": "bert"},
    "bert-cased": {"normalization": "bert", "lowercase": False},
    "bert-cased-stripped": {"normalization": "bert", "lowercase": False, "strip_accents": True},
    "bert-accents": {"normalization": "bert", "strip_accents": False},
    "bert-unsplit": {"normalization": "bert", "split_chinese": False},
    "bert-jieba": {"normalization": "bert", "chinese_words": "jieba"},
    "wordpiece": {"kind": "wordpiece"},
    "wordpiece-cased": {"kind": "wordpiece", "lowercase": False},
    "wordpiece-stripped": {"kind": "wordpiece", "strip_accents": True},
    "wordpiece-turkish": {"kind": "wordpiece", "dotless_i": True, "split_chinese": False},
    "wordpiece-jieba": {"kind": "wordpiece", "chinese_words": "jieba"},
    "wordpiece-icu": {"kind": "wordpiece", "chinese_words": "icu", "words": "icu"},
    "bpe": {"kind": "bpe"},
    "bpe-icu": {"kind": "bpe", "chinese_words": "jieba", "words": "icu"},
    "bpe-cased": {"kind": "bpe", "lowercase": False},
    "bpe-turkish-stripped": {"kind": "bpe", "dotless_i": True, "strip_accents": True},
    "unigram": {"kind": "unigram"},
    "unigram-turkish": {"kind": "unigram", "dotless_i": True},
    "unigram-cased": {"kind": "unigram", "lowercase": False},
    "unigram-marked": {"kind": "unigram", "strip_accents": True, "special_tokens": ("[URL]", "<ent>")},
}
DOMAIN_RECIPES = {
    "wordpiece-digits": {"kind": "wordpiece", "split_digits": True},
    "bpe-digits": {"kind": "bpe", "split_digits": True},
    "unigram-digits": {"kind": "unigram", "split_digits": True},
    "bpe-spaces": {"kind": "bpe", "spaces": "keep"},
    "unigram-spaces": {"kind": "unigram", "spaces": "keep"},
    "unigram-spaces-digits": {"kind": "unigram", "spaces": "keep", "split_digits": True, "lowercase": True},
    "characters": {"kind": "characters"},
    "characters-spaces": {"kind": "characters", "spaces": "keep", "lowercase": True},
    "words": {"kind": "words"},
    "words-spaces-digits": {"kind": "words", "spaces": "keep", "split_digits": True},
    "regex": {"kind": "regex", "pattern": r"\p{L}+ing|[A-Z][a-z]*"},
    "regex-smiles": {"kind": "regex", "pattern": "smiles", "spaces": "keep"},
    "kmer": {"kind": "kmer", "k": 3},
    "kmer-digits": {"kind": "kmer", "k": 4, "lowercase": True, "split_digits": True},
}


@functools.cache
def small(recipe: str, backwards: bool = False, **changes: object) -> Tokenizer:
    """A tokenizer of 600 pieces at most.

    backwards: train on the texts written from end to start: all their characters, but hardly a token that holds two
    words of a text written forwards.
    """
    fields = {"vocab_size": 600, "min_count": 1, "chinese_words": "characters", "words": "spaces"}
    fields |= (RECIPES | DOMAIN_RECIPES)[recipe] | changes
    settings = TokenizerSettings(**fields)
    corpus = [text[::-1] for text in texts()] if backwards else texts()
    return train_vocabulary(count_words(corpus, settings), settings)
