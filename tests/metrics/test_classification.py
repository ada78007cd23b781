"""Scores of classes are scikit-learn's."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sklearn

from maskling.metrics import classification

pairs = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=40)
named = pairs.map(lambda some: [(f"class {one}", f"class {other}") for one, other in some])
tables = st.integers(1, 20).flatmap(
    lambda rows: st.lists(
        st.lists(st.tuples(st.booleans(), st.booleans()), min_size=3, max_size=3), min_size=rows, max_size=rows
    )
)


@given(pairs=st.one_of(pairs, named))
def test_accuracy_f1_and_matthews_are_those_of_scikit_learn(pairs):
    truth, guess = zip(*pairs, strict=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of classes that were never guessed
        assert classification.accuracy(truth, guess) == pytest.approx(sklearn.accuracy_score(truth, guess))
        expected = sklearn.f1_score(truth, guess, average="macro", zero_division=0)
        assert classification.macro_f1(truth, guess) == pytest.approx(expected)
        assert classification.matthews(truth, guess) == pytest.approx(sklearn.matthews_corrcoef(truth, guess))
        table = sklearn.precision_recall_fscore_support(truth, guess, zero_division=0)
    scores = classification.label_scores(truth, guess).values()
    found = [[score.precision, score.recall, score.f1, score.support] for score in scores]
    assert np.allclose(np.array(found).T, np.array(table))


@given(pairs=pairs)
def test_f1_over_given_classes_is_that_of_scikit_learn(pairs):
    truth, guess = zip(*pairs, strict=True)
    expected = sklearn.f1_score(truth, guess, average="macro", labels=[4, 0, 7], zero_division=0)
    assert classification.macro_f1(truth, guess, labels=[4, 0, 7]) == pytest.approx(expected)


@given(table=tables)
def test_scores_of_several_labels_are_those_of_scikit_learn(table):
    truth, guess = np.moveaxis(np.array(table), 2, 0)
    assert classification.subset_accuracy(truth, guess) == pytest.approx(sklearn.accuracy_score(truth, guess))
    for average, ours in (
        ("micro", classification.multilabel_micro_f1),
        ("macro", classification.multilabel_macro_f1),
    ):
        expected = sklearn.f1_score(truth, guess, average=average, zero_division=0)
        assert ours(truth.astype(np.float32), guess) == pytest.approx(expected)


def test_nothing_scored_is_no_number():
    assert math.isnan(classification.accuracy([], []))
    assert math.isnan(classification.macro_f1([], []))
    assert math.isnan(classification.matthews([], []))
    assert math.isnan(classification.subset_accuracy(np.zeros((0, 3)), np.zeros((0, 3))))


def test_a_guess_that_is_always_the_same_has_no_matthews_correlation():
    assert classification.matthews([0, 1, 1], [1, 1, 1]) == 0
    assert classification.macro_f1(["a", "b", "b"], ["b", "b", "b"]) == pytest.approx(0.4)


def test_matthews_of_a_large_set_does_not_overflow():
    truth = np.repeat([0, 1], 60_000)
    guess = truth.copy()
    guess[:30_000] = 1
    # Half of the zeros told wrongly: (TP TN - FP FN) / sqrt(...) by hand. The product under the root passes 2**63.
    assert classification.matthews(truth, guess) == pytest.approx(2 * 1 / math.sqrt(3 * 2 * 2 * 1))


def test_a_guess_for_each_thing():
    with pytest.raises(AssertionError):
        classification.accuracy([1, 2], [1])
