"""How well numbers go together."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

# FOLDED DOCS
# [retrieval] How well things are found.


def pearson(truth: ArrayLike, guess: ArrayLike) -> float:
    """Pearson's correlation. truth, guess: (n,) numbers.

    NaN where it has no meaning: fewer than two numbers, one side all the same, or a number that is none.
    """
    true, guessed = _aligned(truth, guess)
    if len(true) < 2 or not (np.isfinite(true).all() and np.isfinite(guessed).all()):
        return math.nan
    # Compared before the mean is taken away: rounding would leave a constant a spread of its own.
    if (true == true[0]).all() or (guessed == guessed[0]).all():
        return math.nan
    true, guessed = _centred(true), _centred(guessed)
    spread = float(np.linalg.norm(true) * np.linalg.norm(guessed))
    return min(1.0, max(-1.0, float(true @ guessed) / spread)) if spread else math.nan


def spearman(truth: ArrayLike, guess: ArrayLike) -> float:
    """Spearman's correlation of ranks; equal numbers share the mean of their ranks. NaN as `pearson`."""
    true, guessed = _aligned(truth, guess)
    if not (np.isfinite(true).all() and np.isfinite(guessed).all()):
        return math.nan
    return pearson(ranks(true), ranks(guessed))


def ranks(values: ArrayLike) -> NDArray[np.float64]:
    """The place of each number in ascending order, from 1; equal numbers share the mean of their places. (n,)."""
    _, number, count = np.unique(np.asarray(values, np.float64), return_inverse=True, return_counts=True)
    middle: NDArray[np.float64] = (np.cumsum(count) - (count - 1) / 2)[number]
    return middle


def _centred(values: NDArray[np.float64]) -> NDArray[np.float64]:
    # Scaled first, so that the squares of large or small numbers stay numbers.
    scaled = values / np.abs(values).max()
    centred: NDArray[np.float64] = scaled - scaled.mean()
    return centred / (np.abs(centred).max() or 1.0)


def _aligned(truth: ArrayLike, guess: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    true, guessed = np.asarray(truth, np.float64), np.asarray(guess, np.float64)
    assert true.shape == guessed.shape, "a guess for each number"
    assert true.ndim == 1, "one number for each thing"
    return true, guessed


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
