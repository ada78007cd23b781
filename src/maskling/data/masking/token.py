"""Masking of single tokens."""

from __future__ import annotations

from typing import Literal

from maskling.arrays import BoolArray, UInt64Array
from maskling.data.masking.strategy import Masking, Rate, take
from maskling.data.masking.words import WordIds, token_units


class TokenMasking(Masking):
    """Mask tokens uniformly at random (Devlin et al. 2019, BERT, section 3.1).

    Each example gets `rate` times its ordinary tokens, rounded up or down at random, at least one.
    """

    kind: Literal["token"] = "token"

    def select(self, words: WordIds, rate: Rate, keys: UInt64Array) -> BoolArray:
        """Take tokens in random order until the rate is met."""
        return take(token_units(words), rate, keys)
