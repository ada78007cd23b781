"""Runs of whole words of random lengths, for span and n-gram masking."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from maskling.arrays import UInt64Array
from maskling.data.masking.strategy import LENGTH_DRAW, Rate
from maskling.data.masking.words import Units, WordIds, word_units
from maskling.randomness import uniforms


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
