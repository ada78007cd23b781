"""Ranks of right answers, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from maskling.metrics.ranking import accuracy_at, mean_reciprocal_rank, right_ranks

SCORES = np.array([[0.9, 0.1, 0.5], [0.9, 0.1, 0.5], [-np.inf, 0.2, 0.1], [0.3, 0.3, 0.3]])


def test_the_rank_is_how_many_are_as_good_or_better():
    assert right_ranks(SCORES, [0, 2, 2, 1]).tolist() == [1, 2, 2, 3]


def test_scores_by_ranks():
    ranks = [1, 2, 2, 3]
    assert mean_reciprocal_rank(ranks) == pytest.approx((1 + 1 / 2 + 1 / 2 + 1 / 3) / 4)
    assert (accuracy_at(ranks), accuracy_at(ranks, 2), accuracy_at(ranks, 10)) == (0.25, 0.75, 1.0)
    assert math.isnan(mean_reciprocal_rank([]))
    assert math.isnan(accuracy_at([]))


def test_what_is_not_a_number_is_found_last():
    scores = [[float("nan"), 0.5, 0.1], [0.2, 0.3, 0.1]]
    assert right_ranks(scores, [0, 1]).tolist() == [3, 1]
