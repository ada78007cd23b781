"""What every masking gives: tokens to predict, and a rate that may change over training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from maskling.arrays import BoolArray, UInt64Array
from maskling.config import Settings
from maskling.data.masking.words import Units, Words
from maskling.randomness import uniforms

# A fraction of the tokens: one for all examples, or (examples,) float64, one for each.
Rate = float | NDArray[np.float64]


class Masking(Settings, ABC):
    """Which tokens to predict. Never special ones; at least one in every example that has an ordinary token."""

    kind: str
    rate: float = Field(0.15, gt=0, lt=1, description="fraction of ordinary tokens to predict")
    final_rate: float | None = Field(None, gt=0, lt=1, description="rate at the end, reached in a straight line")
    lowest_rate: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="draw the rate of each example evenly between this one and `rate`, as models that write text want",
    )

    predicts_unknown: ClassVar[bool] = False
    """Whether tokens of the text that are special themselves, as [UNK] is, count as ordinary."""

    @model_validator(mode="after")
    def _lowest_is_lowest(self) -> Self:
        least = min(self.rate, self.rate if self.final_rate is None else self.final_rate)
        if self.lowest_rate is not None and self.lowest_rate > least:
            raise ValueError(
                f"lowest_rate {self.lowest_rate} is above the rate {least} that it is the lower end of; lower it"
            )
        return self

    def rate_at(self, fraction: float) -> float:
        """The rate after that fraction of training (Ankner et al. 2023 let it fall from 0.3 to 0.15).

        With `lowest_rate`, the upper end of the range that each example's is drawn from.
        """
        if self.final_rate is None:
            return self.rate
        return self.rate + (self.final_rate - self.rate) * min(max(fraction, 0.0), 1.0)

    def rates(self, rate: float, keys: UInt64Array) -> Rate:
        """The rate of each example: `rate`, or with `lowest_rate` a draw of its key alone.

        Masked diffusion draws a time for each example and hides that fraction (Austin et al. 2021, D3PM, absorbing
        states; Sahoo et al. 2024, MDLM). Theirs is drawn from all of (0, 1), and the loss of an example is weighed by
        one over its rate, which makes the sum a bound on its likelihood; here each prediction weighs the same.
        """
        if self.lowest_rate is None:
            return rate
        return self.lowest_rate + (rate - self.lowest_rate) * uniforms(keys, RATE)

    @abstractmethod
    def select(self, words: Words, rate: Rate, keys: UInt64Array) -> BoolArray:
        """Choose the tokens to predict, for each example from its own words and key alone.

        rate: the fraction to choose, one for all or for each; keys: (examples,) uint64. Returns (n,) bool, True where
        a token is predicted.
        """


# Counters of the draws of one key: units are drawn at their positions, the rest above any position.
ROUNDING = 1 << 32
LENGTHS = 1 << 33
RATE = 1 << 34


def take(units: Units, rate: Rate, keys: UInt64Array) -> BoolArray:
    """Take whole units in random order until about `rate` of the ordinary tokens of each example is met.

    A unit is taken if the tokens of those before it have not reached a mark. Its own length plays no
    part in that, so long and short ones are equally likely; skipping what no longer fits, or
    asking whether half of it fits, would favour the short. The last unit reaches beyond the mark by half
    of its length on average, and is of length l with a chance proportional to l; so the mark is
    set that much lower than the rate asks, and the rate is met on average. A draw for each example moves
    the mark by up to half a token, so that rounding does not shift it either: for units of one
    token this is rounding up or down at random. The first unit is taken in any case.
    Returns (n,) bool over the tokens of `units.words`.
    """
    words = units.words
    order = units.shuffled(keys)
    length = units.length[order]
    # Tokens of the same example in units before this one; examples kept their order.
    before = np.cumsum(length) - length
    before -= (np.cumsum(words.num_ordinary) - words.num_ordinary)[units.example]
    squares = np.bincount(units.example, weights=units.length**2, minlength=words.num_examples)
    beyond = 0.5 * squares / np.maximum(words.num_ordinary, 1)
    mark = rate * words.num_ordinary - beyond + uniforms(keys, ROUNDING) - 0.5
    taken = np.empty(len(order), dtype=bool)
    taken[order] = (before < mark[units.example]) | (before == 0)
    return units.tokens(taken)
