"""Ordinary tokens cut into runs of whole words of random lengths."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from maskling.arrays import UInt64Array
from maskling.data.masking.strategy import LENGTHS, Rate
from maskling.data.masking.words import Units, Words, word_units
from maskling.randomness import uniforms


def word_runs(words: Words, probabilities: NDArray[np.floating], rate: Rate, keys: UInt64Array) -> Units:
    """Cut each stretch of words between special tokens into runs that follow each other.

    probabilities: (longest,) float64, the chance of a run of 1, 2, ... words. A run is cut off where
    its stretch ends, and is never longer than the words that `rate` asks of its example (one at
    least), so that a short example is not masked as a whole.

    Any run is later taken with the same chance, so every word is as likely to be masked as any
    other, wherever it stands, and the lengths of masked runs are the lengths drawn here.
    """
    units = word_units(words)
    if not len(units.length):
        return units
    # A word is as long as its tokens; where the next does not begin right behind it, a special token stands between.
    ends = units.position + units.length
    opens = np.ones(len(ends), dtype=bool)
    opens[1:] = (units.example[1:] != units.example[:-1]) | (units.position[1:] != ends[:-1])
    # Draw a length at every word, as if all runs had one: more than enough of them for each stretch.
    total = np.cumsum(probabilities)
    drawn = 1 + np.searchsorted(
        total[:-1], uniforms(keys[units.example], units.position + LENGTHS) * total[-1], "right"
    )
    drawn = np.minimum(drawn, np.maximum(1, np.rint(rate * units.count).astype(np.int64))[units.example])
    # Run number j of a stretch begins after the lengths of the runs before it, if the stretch is that long.
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
