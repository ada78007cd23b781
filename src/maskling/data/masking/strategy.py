"""The interface of a masking strategy: choose tokens to predict, at a rate that may change over training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from maskling.arrays import BoolArray, Int64Array, UInt64Array
from maskling.config import Settings
from maskling.data.masking.words import Units, WordIds, token_units, word_units
from maskling.randomness import below, uniforms

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
WHOLE_DRAW = 1 << 35
TOKEN_DRAW = 1 << 36

# `take` stops at a threshold of tokens if an example has enough units (rate times units is at least the first number),
# and the last unit is expected to exceed the threshold by at most this fraction of the rate, and of the example. The
# rate is off by as much if all words are equally long, and by less in every mixture that was tried (8,000 at random).
# Runs of short words have many different lengths, and may exceed it by more.
_FEW = 1, 1 / 8, 0.01
_FEW_RUNS = 2, 1 / 3, 0.05


def longest_unit(words: WordIds, rate: Rate) -> Int64Array:
    """Return the most tokens that may be masked as one unit, (examples,) int64: a fair share of each example.

    As many tokens as the rate asks for; up to twice as many where that is at most a third of the example, so that
    short examples keep their words. What is longer is not a word (a row of DNA, a line of Thai that no dictionary
    segmented, base64, a long address): masked whole it would leave nothing to predict it from.
    """
    wanted = rate * words.num_ordinary
    share = np.maximum(wanted, np.minimum(2 * wanted, words.num_ordinary / 3))
    return np.maximum(1, np.floor(share)).astype(np.int64)


def fair_words(words: WordIds, rate: Rate) -> Units:
    """Return every word as a unit, and every token of a word that is longer than `longest_unit`."""
    return _without_long(word_units(words), rate, token_units)


def _without_long(units: Units, rate: Rate, finer: Callable[[WordIds], Units]) -> Units:
    """Return the units, with those longer than `longest_unit` replaced by the finer units inside them."""
    most = longest_unit(units.words, rate)
    if units.length.max(initial=0) <= most.min(initial=1 << 62):
        return units
    return units.broken(units.length > most[units.example], finer(units.words))


def take(units: Units, rate: Rate, keys: UInt64Array, of_words: Units | None = None) -> BoolArray:
    """Take units in random order until about `rate` of the ordinary tokens of each example is met.

    Every token is (nearly) equally likely to be taken, whatever the length of its unit, and the rate is met on
    average. Skipping what no longer fits, or testing whether half of it fits, would favour short units. There are two
    rules, chosen per example by the lengths of its units:

    Where units are short, those are taken whose predecessors have not reached a threshold of tokens. The last unit
    exceeds the threshold by half of its length on average, and has length l with probability proportional to l; so the
    threshold is lowered by that much. A draw per example moves it by up to half a token, so that rounding does not
    shift the rate either: for units of one token this is rounding up or down at random.

    Where units are long for their example (in short examples, or if nearly all words have many tokens), that average
    is not reached: with ten words of 12 tokens, two are 20 % and one is 10 %, never 15 %. There `rate` times the number
    of units are taken, rounded up or down at random, so that each unit is taken with probability `rate` exactly. If
    that is less than one unit, one unit is masked whole in some examples, and one token in the others, in the ratio
    that meets the rate. (Taking always a whole unit would mask too much: half of an example that is two words.)

    At least one token is taken; so an example with fewer than 1 / `rate` tokens is masked at a higher rate.

    of_words: the words that `units` are runs of, if they are. Returns (n,) bool over the tokens of `units.words`.
    """
    words = units.words
    ordinary = words.num_ordinary
    order = units.shuffled(keys)
    length = units.length[order]
    # Tokens of the same example in units before this one; the order of examples is unchanged.
    before = np.cumsum(length) - length
    before -= (np.cumsum(ordinary) - ordinary)[units.example]
    beyond = units.mean_around_token / 2
    rounding = uniforms(keys, ROUNDING_DRAW)
    threshold = rate * ordinary - beyond + rounding - 0.5
    taken = np.empty(len(order), dtype=bool)
    taken[order] = (before < threshold[units.example]) | (before == 0)
    share = rate * units.count
    counts = _are_long(units if of_words is None else of_words, rate, *_FEW)
    if of_words is not None:
        counts |= _are_long(units, rate, *_FEW_RUNS)
    if not counts.any():
        return units.tokens(taken)
    number = np.floor(share + rounding)
    below_one = counts & (share < 1) & (ordinary > 0)
    mean = ordinary / np.maximum(units.count, 1)
    whole = uniforms(keys, WHOLE_DRAW) < (rate * ordinary - 1) / np.maximum(mean - 1, 1e-9)
    number[below_one] = whole[below_one]
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order)) - (np.cumsum(units.count) - units.count)[units.example]
    chosen = units.tokens(np.where(counts[units.example], rank < number[units.example], taken))
    one = below_one & ~whole
    token = (np.cumsum(ordinary) - ordinary)[one] + below(keys[one], TOKEN_DRAW, ordinary[one])
    chosen[words.ordinary[token]] = True
    return chosen


def _are_long(units: Units, rate: Rate, enough: float, of_rate: float, of_example: float) -> BoolArray:
    """Return in which examples the units are too long or too few for a threshold, (examples,) bool.

    False where every unit is one token.
    """
    beyond = (units.mean_around_token - 1) / 2 / np.maximum(units.words.num_ordinary, 1)
    few = (beyond > 0) & (rate * units.count < enough)
    return np.asarray(few | (beyond > np.minimum(rate * of_rate, of_example)))


def word_runs(units: Units, probabilities: NDArray[np.floating], rate: Rate, keys: UInt64Array) -> Units:
    """Cut each stretch of words between special tokens into consecutive runs.

    units: the words (`fair_words`); probabilities: (longest,) float64, relative probability of a run of 1, 2, ...
    words. A run is cut off where its stretch ends, and is never longer than the number of words that `rate` asks of
    its example (at least one), so that a short example is not masked as a whole. A run of more tokens than
    `longest_unit` is taken apart into its words.

    Every run is later taken with the same probability, so every word is equally likely to be masked,
    whatever its position, and the lengths of masked runs are distributed as the lengths drawn here.
    """
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
    runs = Units(units.words, units.example[leading], units.position[leading], length)
    return _without_long(runs, rate, lambda _: units)
