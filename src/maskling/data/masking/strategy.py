"""What every masking gives: tokens to predict, and a rate that may change over training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
from pydantic import Field

from maskling.config import Settings
from maskling.data.masking.words import BoolArray, Units, Words
from maskling.randomness import UInt64Array, uniforms


class Masking(Settings, ABC):
    """Which tokens to predict. Never special ones; at least one in every example that has an ordinary token."""

    kind: str
    rate: float = Field(0.15, gt=0, lt=1, description="fraction of ordinary tokens to predict")
    final_rate: float | None = Field(None, gt=0, lt=1, description="rate at the end, reached in a straight line")

    predicts_unknown: ClassVar[bool] = False
    """Whether tokens of the text that are special themselves, as [UNK] is, count as ordinary."""

    def rate_at(self, fraction: float) -> float:
        """The rate after that fraction of training (Ankner et al. 2023 let it fall from 0.3 to 0.15)."""
        if self.final_rate is None:
            return self.rate
        return self.rate + (self.final_rate - self.rate) * min(max(fraction, 0.0), 1.0)

    @abstractmethod
    def select(self, words: Words, rate: float, keys: UInt64Array) -> BoolArray:
        """Choose the tokens to predict, for each example from its own words and key alone.

        rate: the fraction to choose; keys: (examples,) uint64. Returns (n,) bool, True where a token is predicted.
        """


# Counters of the draws of one key: units are drawn at their positions, the rest above any position.
ROUNDING = 1 << 32
LENGTHS = 1 << 33


def take(units: Units, rate: float, keys: UInt64Array) -> BoolArray:
    """Take whole units at random until `rate` of the ordinary tokens of each example is met.

    The unit that crosses that mark is taken if its middle lies before it: one more than half of
    which fits. The mark is moved by up to half a token, by a draw for each example, so that
    neither rounding nor even lengths shift the rate: for units of one token this is rounding up or
    down at random, right on average. The first unit is taken in any case.
    Returns (n,) bool over the tokens of `units.words`.
    """
    words = units.words
    order = units.shuffled(keys)
    length = units.length[order]
    # Tokens of the same example in units before this one; examples kept their order.
    before = np.cumsum(length) - length
    before -= (np.cumsum(words.num_ordinary) - words.num_ordinary)[units.example]
    mark = rate * words.num_ordinary + uniforms(keys, ROUNDING) - 0.5
    taken = np.empty(len(order), dtype=bool)
    taken[order] = (before + 0.5 * length < mark[units.example]) | (before == 0)
    return units.tokens(taken)
