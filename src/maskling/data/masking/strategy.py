"""The interface of a masking strategy: choose tokens to predict, at a rate that may change over training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from maskling.arrays import BoolArray, UInt64Array
from maskling.config import Settings
from maskling.data.masking.words import Units, WordIds, word_units
from maskling.randomness import uniforms

# A fraction of the tokens: one for all examples, or (examples,) float64, one per example.
Rate = float | NDArray[np.float64]


class Masking(Settings, ABC):
    """Choose which tokens to predict: never special tokens, and at least one in every example with ordinary tokens."""

    kind: str
    rate: float = Field(0.15, gt=0, lt=1, description="fraction of ordinary tokens to predict")
    final_rate: float | None = Field(None, gt=0, lt=1, description="rate at the end of training, reached linearly")
    lowest_rate: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="draw the rate of each example uniformly between this and `rate`, for models that generate text",
    )

    predicts_unknown: ClassVar[bool] = False
    """Whether [UNK] counts as ordinary; other special tokens of the text itself never do."""

    @model_validator(mode="after")
    def _lowest_is_lowest(self) -> Self:
        least = min(self.rate, self.rate if self.final_rate is None else self.final_rate)
        if self.lowest_rate is not None and self.lowest_rate > least:
            raise ValueError(
                f"lowest_rate {self.lowest_rate} is above the rate {least}, the upper end of its range; lower it"
            )
        return self

    def rate_at(self, fraction: float) -> float:
        """Return the rate after that fraction of training (Ankner et al. 2023 decay it from 0.3 to 0.15).

        With `lowest_rate`, it is the upper end of the range that the rate of each example is drawn from.
        """
        if self.final_rate is None:
            return self.rate
        return self.rate + (self.final_rate - self.rate) * min(max(fraction, 0.0), 1.0)

    def rates(self, rate: float, keys: UInt64Array) -> Rate:
        """Return the rate of each example: `rate`, or with `lowest_rate` a draw that depends on its key alone.

        Masked diffusion draws a time per example and masks that fraction (Austin et al. 2021, D3PM, absorbing
        states; Sahoo et al. 2024, MDLM). There it is drawn from all of (0, 1), and the loss of an example is weighted
        by one over its rate, which makes the sum a bound on its likelihood; here every prediction has equal weight.
        """
        if self.lowest_rate is None:
            return rate
        return self.lowest_rate + (rate - self.lowest_rate) * uniforms(keys, RATE_DRAW)

    @abstractmethod
    def select(self, words: WordIds, rate: Rate, keys: UInt64Array) -> BoolArray:
        """Choose the tokens to predict, for each example from its own words and key alone.

        rate: the fraction to choose, one for all examples or one each; keys: (examples,) uint64.
        Returns (n,) bool, True where a token is to be predicted.
        """


# Counters of the draws of one key: units use their positions, other draws use counters above any position.
ROUNDING_DRAW = 1 << 32
LENGTH_DRAW = 1 << 33
RATE_DRAW = 1 << 34


def take(units: Units, rate: Rate, keys: UInt64Array) -> BoolArray:
    """Take whole units in random order until about `rate` of the ordinary tokens of each example is met.

    A unit is taken if the tokens of the units before it have not reached a threshold. Its own length has no influence
    on that, so long and short units are equally likely; skipping what no longer fits, or testing whether half of it
    fits, would favour short units. The last unit exceeds the threshold by half of its length on average, and has
    length l with probability proportional to l; so the threshold is lowered by that much, and the rate is met on
    average. A draw per example moves the threshold by up to half a token, so that rounding does not shift it either:
    for units of one token this is rounding up or down at random. The first unit is always taken.
    Returns (n,) bool over the tokens of `units.words`.
    """
    words = units.words
    order = units.shuffled(keys)
    length = units.length[order]
    # Tokens of the same example in units before this one; the order of examples is unchanged.
    before = np.cumsum(length) - length
    before -= (np.cumsum(words.num_ordinary) - words.num_ordinary)[units.example]
    squares = np.bincount(units.example, weights=units.length**2, minlength=words.num_examples)
    beyond = 0.5 * squares / np.maximum(words.num_ordinary, 1)
    threshold = rate * words.num_ordinary - beyond + uniforms(keys, ROUNDING_DRAW) - 0.5
    taken = np.empty(len(order), dtype=bool)
    taken[order] = (before < threshold[units.example]) | (before == 0)
    return units.tokens(taken)


def word_runs(words: WordIds, probabilities: NDArray[np.floating], rate: Rate, keys: UInt64Array) -> Units:
    """Cut each stretch of words between special tokens into consecutive runs.

    probabilities: (longest,) float64, relative probability of a run of 1, 2, ... words. A run is cut off where
    its stretch ends, and is never longer than the number of words that `rate` asks of its example (at
    least one), so that a short example is not masked as a whole.

    Every run is later taken with the same probability, so every word is equally likely to be masked,
    whatever its position, and the lengths of masked runs are distributed as the lengths drawn here.
    """
    units = word_units(words)
    if not len(units.length):
        return units
    # If the next word does not begin right after the tokens of this one, a special token separates them.
    ends = units.position + units.length
    opens = np.ones(len(ends), dtype=bool)
    opens[1:] = (units.example[1:] != units.example[:-1]) | (units.position[1:] != ends[:-1])
    # Draw one length per word, as if all runs had one word: more than enough for each stretch.
    total = np.cumsum(probabilities)
    drawn = 1 + np.searchsorted(
        total[:-1], uniforms(keys[units.example], units.position + LENGTH_DRAW) * total[-1], "right"
    )
    drawn = np.minimum(drawn, np.maximum(1, np.rint(rate * units.count).astype(np.int64))[units.example])
    # Run j of a stretch begins after the lengths of the runs before it, if the stretch is that long.
    stretch = np.cumsum(opens) - 1
    first = np.flatnonzero(opens)
    before = np.cumsum(drawn) - drawn
    begin = first[stretch] + before - before[first][stretch]
    end = np.append(first[1:], len(opens))[stretch]
    begins = np.zeros(len(opens), dtype=bool)
    begins[begin[begin < end]] = True
    leading = np.flatnonzero(begins)
    length = np.add.reduceat(units.length, leading)
    return Units(words, units.example[leading], units.position[leading], length)
