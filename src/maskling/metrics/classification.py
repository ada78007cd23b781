"""How well one class was told of each thing. All as scikit-learn counts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from maskling.metrics.scores import Scores


def accuracy(truth: ArrayLike, guess: ArrayLike) -> float:
    """The fraction of guesses that are right; NaN of none. truth, guess: (n,) numbers or names of classes."""
    true, guessed = _aligned(truth, guess)
    return float((true == guessed).mean()) if len(true) else math.nan


def label_scores(truth: ArrayLike, guess: ArrayLike, labels: Sequence[Any] | None = None) -> dict[Any, Scores]:
    """Precision, recall and F1 of each class.

    truth, guess: (n,) numbers or names; labels: the classes in order, else all that occur, sorted.
    """
    true, guessed = _aligned(truth, guess)
    found, numbers = np.unique(np.concatenate([true, guessed]), return_inverse=True)
    one, other = numbers[: len(true)], numbers[len(true) :]
    counts = [np.bincount(some, minlength=len(found)).tolist() for some in (one[one == other], other, one)]
    scores = {label: Scores.of(*count) for label, *count in zip(found.tolist(), *counts, strict=True)}
    return scores if labels is None else {label: scores.get(label) or Scores.of(0, 0, 0) for label in labels}


def macro_f1(truth: ArrayLike, guess: ArrayLike, labels: Sequence[Any] | None = None) -> float:
    """The mean F1 of the classes, rare ones counting as much as common ones; NaN of none.

    Without `labels` a class that neither occurs nor was guessed does not count.
    """
    scores = label_scores(truth, guess, labels)
    return sum(score.f1 for score in scores.values()) / len(scores) if scores else math.nan


def matthews(truth: ArrayLike, guess: ArrayLike) -> float:
    """Matthews' correlation coefficient, for any number of classes (Gorodkin 2004).

    0 where all are of one class or all guesses are, and the quotient would be 0 / 0; NaN of none.
    """
    true, guessed = _aligned(truth, guess)
    if not len(true):
        return math.nan
    classes, numbers = np.unique(np.concatenate([true, guessed]), return_inverse=True)
    table = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(table, (numbers[: len(true)], numbers[len(true) :]), 1)
    # Whole numbers of any size: squares of counts of a large set pass 2**63.
    rows, columns = [int(n) for n in table.sum(1)], [int(n) for n in table.sum(0)]
    total = len(true)
    together = int(np.trace(table)) * total - sum(row * column for row, column in zip(rows, columns, strict=True))
    spread = (total**2 - sum(row * row for row in rows)) * (total**2 - sum(column * column for column in columns))
    return together / math.sqrt(spread) if spread else 0.0


def _aligned(truth: ArrayLike, guess: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    true, guessed = np.asarray(truth), np.asarray(guess)
    assert true.shape == guessed.shape, "a guess for each thing"
    assert true.ndim == 1, "one class for each thing"
    return true, guessed
