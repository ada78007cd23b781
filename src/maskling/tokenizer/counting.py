"""Counting words for training: counts add up, so parts of a corpus can be counted anywhere, in any order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

from maskling.tokenizer import pieces
from maskling.tokenizer.chunks import Cut, cut_bert, cut_bert_chinese, cut_words
from maskling.tokenizer.library import guarded, mended
from maskling.tokenizer.settings import TokenizerSettings

_MOST_CHUNKS: Final = 1 << 18


def count_words(texts: Iterable[str], settings: TokenizerSettings) -> Counter[str]:
    """How often each word occurs, as the vocabulary will see it: normalized, cut at white space and punctuation.

    The sum of the counts of two corpora is the count of both. Memory grows with the distinct words only.
    """
    words: Counter[str] = Counter()
    chunks: Counter[str] = Counter()
    cut = _cut(settings)
    normalizer, pre_tokenizer = pieces.normalizer(settings), pieces.pre_tokenizer(settings.kind)
    for text in texts:
        chunks.update(cut(text))
        if len(chunks) > _MOST_CHUNKS:
            _add_words(words, chunks, normalizer, pre_tokenizer)
            chunks.clear()
    _add_words(words, chunks, normalizer, pre_tokenizer)
    return words


def _cut(settings: TokenizerSettings) -> Cut:
    if settings.kind == "wordpiece":
        return cut_bert_chinese if settings.split_chinese else cut_bert
    return _cut_keeping_space if settings.kind == "bpe" else cut_words


def _cut_keeping_space(text: str) -> list[str]:
    first, *rest = text.split(" ")
    return [first, *(f" {word}" for word in rest)]


def _add_words(words: Counter[str], chunks: Counter[str], normalizer: Any, pre_tokenizer: Any) -> None:
    with guarded("the tokenizer failed on a text"):
        for chunk, count in chunks.items():
            for word, _ in pre_tokenizer.pre_tokenize_str(normalizer.normalize_str(mended(chunk))):
                words[word] += count
