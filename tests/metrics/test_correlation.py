"""Correlations are scipy's."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from maskling.metrics.ranking import pearson, ranks, spearman

# Few values, so that there are ties.
values = st.one_of(st.integers(-3, 3).map(float), st.floats(-100, 100, width=16))
pairs = st.lists(st.tuples(values, values), min_size=2, max_size=40)


@given(pairs=pairs)
def test_correlations_are_those_of_scipy(pairs):
    truth, guess = np.array(pairs).T
    if np.ptp(truth) == 0 or np.ptp(guess) == 0:
        assert math.isnan(pearson(truth, guess))
        assert math.isnan(spearman(truth, guess))
        return
    assert spearman(truth, guess) == pytest.approx(stats.spearmanr(truth, guess).statistic, abs=1e-12)
    if min(np.ptp(truth) / np.abs(truth).max(), np.ptp(guess) / np.abs(guess).max()) > 1e-6:
        assert pearson(truth, guess) == pytest.approx(stats.pearsonr(truth, guess).statistic, abs=1e-9)


@given(numbers=st.lists(values, max_size=40))
def test_ranks_are_those_of_scipy(numbers):
    assert ranks(numbers).tolist() == stats.rankdata(numbers).tolist()


@pytest.mark.parametrize("correlation", [pearson, spearman])
def test_what_has_no_correlation_is_no_number(correlation):
    assert math.isnan(correlation([], []))
    assert math.isnan(correlation([1.0], [2.0]))
    assert math.isnan(correlation([0.1] * 3, [1.0, 2.0, 3.0]))
    assert math.isnan(correlation([1.0, 2.0, math.nan], [1.0, 2.0, 3.0]))


def test_a_straight_line_is_one_however_large_or_small_its_numbers():
    line = np.arange(1, 9)
    for scale in (1e-200, 1.0, 1e200):
        assert pearson(line * scale, line) == pytest.approx(1, abs=1e-15)
        assert pearson(line * -scale, line) == pytest.approx(-1, abs=1e-15)
    assert max(abs(pearson(line / 7, line / 3)), spearman(line, line)) <= 1


def test_equal_numbers_share_the_mean_of_their_places():
    # By hand: ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4; covariance 4.5, variances 4.5 and 5.
    assert spearman([1, 7, 7, 9], [1, 2, 3, 4]) == pytest.approx(4.5 / math.sqrt(4.5 * 5))
