"""How well things are found."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def right_ranks(scores: ArrayLike, right: ArrayLike) -> NDArray[np.int64]:
    """The place of the right candidate of each query, 1 for the first. (n,) int64.

    scores: (n, m) numbers, -inf for a candidate that is out of the race; right: (n,) places of the right ones.
    Others with the same score come first: who gives all the same score has found nothing.
    """
    scored, places = np.asarray(scores), np.asarray(right)
    own = scored[np.arange(len(places)), places]
    # So written, what is not a number has found nothing either.
    ranks: NDArray[np.int64] = np.count_nonzero(~(scored < own[:, None]), axis=1).astype(np.int64)
    return ranks


def mean_reciprocal_rank(ranks: ArrayLike) -> float:
    """The mean of 1 / rank, NaN for none (Voorhees 1999, who counted ranks beyond 5 as never found)."""
    places = np.asarray(ranks, np.float64)
    return float(np.mean(1 / places)) if len(places) else float("nan")


def accuracy_at(ranks: ArrayLike, count: int = 1) -> float:
    """How often the right one is among the first `count`, NaN for no query."""
    places = np.asarray(ranks)
    return float(np.mean(places <= count)) if len(places) else float("nan")
