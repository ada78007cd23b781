"""How well the classes that fit were told, where several may fit. All as scikit-learn counts."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from maskling.metrics.scores import Scores


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
