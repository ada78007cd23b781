"""Classification metrics, single-label and multi-label, as scikit-learn computes them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def accuracy(truth: ArrayLike, predicted: ArrayLike) -> float:
    """Return the fraction of correct predictions; NaN if there are none. truth, predicted: (n,) classes."""
    true, predictions = _aligned(truth, predicted)
    return float((true == predictions).mean()) if len(true) else math.nan


def label_scores(truth: ArrayLike, predicted: ArrayLike, labels: Sequence[Any] | None = None) -> dict[Any, Scores]:
    """Return precision, recall and F1 per class.

    truth, predicted: (n,) class indices or names. labels: the classes in order; default: all that occur, sorted.
    """
    true, predictions = _aligned(truth, predicted)
    found, numbers = np.unique(np.concatenate([true, predictions]), return_inverse=True)
    one, other = numbers[: len(true)], numbers[len(true) :]
    counts = [np.bincount(some, minlength=len(found)).tolist() for some in (one[one == other], other, one)]
    scores = {label: Scores.of(*count) for label, *count in zip(found.tolist(), *counts, strict=True)}
    return scores if labels is None else {label: scores.get(label) or Scores.of(0, 0, 0) for label in labels}


def confusion(truth: ArrayLike, predicted: ArrayLike, labels: Sequence[Any]) -> NDArray[np.int64]:
    """Return the number of items of each true class (rows) that each class (columns) was predicted for.

    truth, predicted: (n,) classes, all of them in `labels`.
    """
    true, predictions = _aligned(truth, predicted)
    index_of = {label: index for index, label in enumerate(labels)}
    table = np.zeros((len(labels), len(labels)), np.int64)
    np.add.at(table, ([index_of[one] for one in true.tolist()], [index_of[one] for one in predictions.tolist()]), 1)
    return table


def macro_f1(truth: ArrayLike, predicted: ArrayLike, labels: Sequence[Any] | None = None) -> float:
    """Return the mean F1 over classes, unweighted; NaN if there are none.

    Without `labels`, a class that neither occurs nor is predicted does not count.
    """
    scores = label_scores(truth, predicted, labels)
    return sum(score.f1 for score in scores.values()) / len(scores) if scores else math.nan


def matthews(truth: ArrayLike, predicted: ArrayLike) -> float:
    """Return Matthews' correlation coefficient, for any number of classes (Gorodkin 2004).

    0 if all truths or all predictions are of one class, where it would be 0 / 0; NaN if there are none.
    """
    true, predictions = _aligned(truth, predicted)
    if not len(true):
        return math.nan
    classes, numbers = np.unique(np.concatenate([true, predictions]), return_inverse=True)
    table = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(table, (numbers[: len(true)], numbers[len(true) :]), 1)
    # Python integers: squares of the counts of a large set exceed 2**63.
    rows, columns = [int(n) for n in table.sum(1)], [int(n) for n in table.sum(0)]
    total = len(true)
    together = int(np.trace(table)) * total - sum(row * column for row, column in zip(rows, columns, strict=True))
    spread = (total**2 - sum(row * row for row in rows)) * (total**2 - sum(column * column for column in columns))
    return together / math.sqrt(spread) if spread else 0.0


def _aligned(truth: ArrayLike, predicted: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    true, predictions = np.asarray(truth), np.asarray(predicted)
    assert true.shape == predictions.shape, "one prediction per item"
    assert true.ndim == 1, "one class per item"
    return true, predictions


def subset_accuracy(truth: ArrayLike, predicted: ArrayLike) -> float:
    """Return the fraction of items with exactly the true set of classes; NaN if there are none.

    truth, predicted: (n, classes), nonzero where a class applies.
    """
    true, predictions = _aligned_rows(truth, predicted)
    return float((true == predictions).all(axis=1).mean()) if len(true) else math.nan


def multilabel_scores(truth: ArrayLike, predicted: ArrayLike) -> list[Scores]:
    """Return precision, recall and F1 per class. truth, predicted: (n, classes)."""
    true, predictions = _aligned_rows(truth, predicted)
    counts = zip((true & predictions).sum(0).tolist(), predictions.sum(0).tolist(), true.sum(0).tolist(), strict=True)
    return [Scores.of(*count) for count in counts]


def multilabel_micro_f1(truth: ArrayLike, predicted: ArrayLike) -> float:
    """Return F1 over all decisions; 0 if no class applies and none is predicted. truth, predicted: (n, classes)."""
    true, predictions = _aligned_rows(truth, predicted)
    return Scores.of(int((true & predictions).sum()), int(predictions.sum()), int(true.sum())).f1


def multilabel_macro_f1(truth: ArrayLike, predicted: ArrayLike) -> float:
    """Return the mean F1 over classes; one that never applies and is never predicted counts as 0.

    truth, predicted: (n, classes).
    """
    scores = multilabel_scores(truth, predicted)
    return sum(score.f1 for score in scores) / len(scores) if scores else math.nan


def _aligned_rows(truth: ArrayLike, predicted: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    true, predictions = np.asarray(truth).astype(bool), np.asarray(predicted).astype(bool)
    assert true.shape == predictions.shape, "one prediction per item"
    assert true.ndim == 2, "one row per item, one column per class"
    return true, predictions


@dataclass(frozen=True, slots=True)
class Scores:
    """Precision, recall and F1, 0 where they would be 0 / 0. support: number of true items."""

    precision: float
    recall: float
    f1: float
    support: int

    @classmethod
    def of(cls, right: int, predicted: int, support: int) -> Scores:
        """Compute from counts. right: predicted and true; predicted: all predicted; support: all true."""
        precision = right / predicted if predicted else 0.0
        recall = right / support if support else 0.0
        return cls(precision, recall, 2 * right / (predicted + support) if predicted + support else 0.0, support)
