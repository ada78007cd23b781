"""How well one class was told of each thing. All as scikit-learn counts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

# FOLDED DOCS
# [multilabel] How well the classes that fit were told, where several may fit. All as scikit-learn counts.
# [scores] Precision, recall and F1, from counts.


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


def subset_accuracy(truth: ArrayLike, guess: ArrayLike) -> float:
    """The fraction of things of which every class was told rightly; NaN of none.

    truth, guess: (n, classes), nonzero where a class fits.
    """
    true, guessed = _aligned_rows(truth, guess)
    return float((true == guessed).all(axis=1).mean()) if len(true) else math.nan


def multilabel_scores(truth: ArrayLike, guess: ArrayLike) -> list[Scores]:
    """Precision, recall and F1 of each class. truth, guess: (n, classes)."""
    true, guessed = _aligned_rows(truth, guess)
    counts = zip((true & guessed).sum(0).tolist(), guessed.sum(0).tolist(), true.sum(0).tolist(), strict=True)
    return [Scores.of(*count) for count in counts]


def multilabel_micro_f1(truth: ArrayLike, guess: ArrayLike) -> float:
    """F1 over all decisions together; 0 where nothing fits and nothing was guessed. truth, guess: (n, classes)."""
    true, guessed = _aligned_rows(truth, guess)
    return Scores.of(int((true & guessed).sum()), int(guessed.sum()), int(true.sum())).f1


def multilabel_macro_f1(truth: ArrayLike, guess: ArrayLike) -> float:
    """The mean F1 of the classes; one that never fits and is never guessed counts as 0. truth, guess: (n, classes)."""
    scores = multilabel_scores(truth, guess)
    return sum(score.f1 for score in scores) / len(scores) if scores else math.nan


def _aligned_rows(truth: ArrayLike, guess: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    true, guessed = np.asarray(truth).astype(bool), np.asarray(guess).astype(bool)
    assert true.shape == guessed.shape, "a guess for each thing"
    assert true.ndim == 2, "a row for each thing, a column for each class"
    return true, guessed


@dataclass(frozen=True, slots=True)
class Scores:
    """precision, recall, f1: 0 where they would be 0 / 0. support: how many there are to be found."""

    precision: float
    recall: float
    f1: float
    support: int

    @classmethod
    def of(cls, right: int, guessed: int, support: int) -> Scores:
        """right: found and true; guessed: found; support: true."""
        precision = right / guessed if guessed else 0.0
        recall = right / support if support else 0.0
        return cls(precision, recall, 2 * right / (guessed + support) if guessed + support else 0.0, support)
