"""Masking of n-grams of whole words."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from maskling.arrays import BoolArray, UInt64Array
from maskling.data.masking.strategy import Masking, Rate, fair_words, take, word_runs
from maskling.data.masking.words import WordIds


class NgramMasking(Masking):
    """Mask n-grams of whole words; length n has probability proportional to 1/n (Lan et al. 2020, ALBERT, 4.1)."""

    kind: Literal["ngram"] = "ngram"
    max_words: int = Field(3, ge=1, description="longest n-gram")

    def select(self, words: WordIds, rate: Rate, keys: UInt64Array) -> BoolArray:
        """Cut the words into n-grams and take n-grams in random order until the rate is met."""
        units = fair_words(words, rate)
        runs = word_runs(units, 1 / np.arange(1, self.max_words + 1), rate, keys)
        return take(runs, rate, keys, of_words=units)
