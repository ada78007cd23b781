"""Whole word masking."""

from __future__ import annotations

from typing import Literal

from maskling.arrays import BoolArray, UInt64Array
from maskling.data.masking.strategy import Masking, Rate, fair_words, take
from maskling.data.masking.words import WordIds


class WordMasking(Masking):
    """Mask all tokens of a word together (google-research/bert, whole word masking; Cui et al. 2021 for Chinese).

    Unlike the original code, which skips every word that no longer fits and so prefers short words,
    all words are equally likely to be chosen, whatever their length, and the rate is met on average.
    """

    kind: Literal["word"] = "word"

    def select(self, words: WordIds, rate: Rate, keys: UInt64Array) -> BoolArray:
        """Take words in random order until the rate is met."""
        return take(fair_words(words, rate), rate, keys)
