"""Correlation of numbers, and retrieval metrics of ranked candidates."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray


def pearson(truth: ArrayLike, predicted: ArrayLike) -> float:
    """Return Pearson's correlation. truth, predicted: (n,) numbers.

    NaN when undefined: fewer than two values, a constant side, or a non-finite value.
    """
    true, predictions = _aligned(truth, predicted)
    if len(true) < 2 or not (np.isfinite(true).all() and np.isfinite(predictions).all()):
        return math.nan
    # Compared before the mean is subtracted: rounding would leave a constant some variance.
    if (true == true[0]).all() or (predictions == predictions[0]).all():
        return math.nan
    true, predictions = _centred(true), _centred(predictions)
    spread = float(np.linalg.norm(true) * np.linalg.norm(predictions))
    return min(1.0, max(-1.0, float(true @ predictions) / spread)) if spread else math.nan


def spearman(truth: ArrayLike, predicted: ArrayLike) -> float:
    """Return Spearman's rank correlation; equal numbers share the mean of their ranks. NaN as `pearson`."""
    true, predictions = _aligned(truth, predicted)
    if not (np.isfinite(true).all() and np.isfinite(predictions).all()):
        return math.nan
    return pearson(ranks(true), ranks(predictions))


def ranks(values: ArrayLike) -> NDArray[np.float64]:
    """Return the rank of each number in ascending order, from 1; equal numbers share their mean rank. (n,) float64."""
    _, group, count = np.unique(np.asarray(values, np.float64), return_inverse=True, return_counts=True)
    middle: NDArray[np.float64] = (np.cumsum(count) - (count - 1) / 2)[group]
    return middle


def _centred(values: NDArray[np.float64]) -> NDArray[np.float64]:
    # Scaled first, so that squares neither overflow nor underflow.
    scaled = values / np.abs(values).max()
    centred: NDArray[np.float64] = scaled - scaled.mean()
    return centred / (np.abs(centred).max() or 1.0)


def _aligned(truth: ArrayLike, predicted: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    true, predictions = np.asarray(truth, np.float64), np.asarray(predicted, np.float64)
    assert true.shape == predictions.shape, "one prediction per number"
    assert true.ndim == 1, "one number per item"
    return true, predictions


def right_ranks(scores: ArrayLike, right: ArrayLike) -> NDArray[np.int64]:
    """Return the rank of each query's correct candidate, from 1: (n,) int64.

    scores: (n, m), -inf for an excluded candidate. right: (n,) indices of the correct candidates.
    Others with the same score rank first, so that equal scores for all find nothing.
    """
    scored, correct = np.asarray(scores), np.asarray(right)
    own = scored[np.arange(len(correct)), correct]
    # Written with `not <`, so that NaN finds nothing either.
    ranks: NDArray[np.int64] = np.count_nonzero(~(scored < own[:, None]), axis=1).astype(np.int64)
    return ranks


def mean_reciprocal_rank(ranks: ArrayLike) -> float:
    """Return the mean of 1 / rank, NaN if there are none (Voorhees 1999, who counted ranks beyond 5 as not found)."""
    values = np.asarray(ranks, np.float64)
    return float(np.mean(1 / values)) if len(values) else float("nan")


def accuracy_at(ranks: ArrayLike, count: int = 1) -> float:
    """Return the fraction of queries whose correct candidate is among the first `count`, NaN if there are none."""
    values = np.asarray(ranks)
    return float(np.mean(values <= count)) if len(values) else float("nan")
