"""Masking of spans of words with geometric lengths."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from maskling.arrays import BoolArray, UInt64Array
from maskling.data.masking.strategy import Masking, Rate, fair_words, take, word_runs
from maskling.data.masking.words import WordIds


class SpanMasking(Masking):
    """Mask runs of whole words with geometric lengths (Joshi et al. 2020, SpanBERT, section 3.1).

    Lengths follow the paper's geometric distribution restricted to 1..max_words (3.8 words on average).
    Unlike the paper, which samples spans until the budget is spent and truncates the last one, the text is first
    cut into spans of such lengths and whole spans are taken, so that the rate is met on average. Two adjacent
    spans count as one longer span, as in the paper.
    """

    kind: Literal["span"] = "span"
    stop: float = Field(0.2, gt=0, lt=1, description="probability that a span ends after each word")
    max_words: int = Field(10, ge=1, description="maximum words per span")

    def select(self, words: WordIds, rate: Rate, keys: UInt64Array) -> BoolArray:
        """Cut the words into spans and take spans in random order until the rate is met."""
        lengths = self.stop * (1 - self.stop) ** np.arange(self.max_words)
        units = fair_words(words, rate)
        return take(word_runs(units, lengths, rate, keys), rate, keys, of_words=units)
