"""Runs of tokens that would stand in a text twice."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def repeating(ids: NDArray[np.int64], unfilled: NDArray[np.bool_], place: int, length: int) -> NDArray[np.int64]:
    """The tokens that, put in `place`, would make a run of `length` tokens that stands elsewhere in the text already.

    ids: (n,) int64; unfilled: (n,) bool, places that hold nothing yet, `place` among them. Runs may overlap, so that
    with 3 no token stands four times in a row. Returns (k,) int64, none for a length below 1.
    """
    if not 1 <= length <= len(ids):
        return ids[:0]
    runs = np.lib.stride_tricks.sliding_window_view(ids, length)
    open_places = np.lib.stride_tricks.sliding_window_view(unfilled, length).sum(1)
    whole = open_places == 0
    # The runs that `place` alone keeps from being whole.
    first = np.arange(max(0, place - length + 1), min(place, len(ids) - length) + 1)
    first = first[open_places[first] == 1]
    found = [ids[:0]]
    for run in first.tolist():
        offset = place - run
        others = np.arange(length) != offset
        found.append(runs[whole & (runs[:, others] == runs[run, others]).all(1), offset])
        # Two of them may become equal: with 2, "a" between two "a" would be "a a" twice.
        for later in first[first > run].tolist():
            filled = ids.copy()
            filled[place] = ids[later + offset]
            if np.array_equal(filled[run : run + length], filled[later : later + length]):
                found.append(filled[place : place + 1])
    return np.concatenate(found)
