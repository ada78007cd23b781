"""Steps are made ahead, in order, and stop when nobody wants them any more."""

from __future__ import annotations

import itertools
import threading
from math import factorial

import pytest

from maskling.data.prefetch import prefetch

kinds = pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])


@kinds
def test_results_come_in_order(workers):
    assert list(prefetch(factorial, range(3, 20), workers)) == [factorial(step) for step in range(3, 20)]


@kinds
def test_an_error_is_raised_where_its_result_would_be(workers):
    made = prefetch(factorial, [0, 1, 3, -1, 5], workers)
    assert list(itertools.islice(made, 3)) == [1, 1, 6]
    with pytest.raises(ValueError, match="negative"):
        next(made)


def test_it_prefetches_no_more_than_depth():
    started, may_go = [], threading.Event()

    def make(step):
        started.append(step)
        may_go.wait()
        return step

    made = prefetch(make, itertools.count(), depth=3)
    may_go.set()
    assert next(made) == 0
    made.close()
    # The one that was handed over, three ahead of it, and no more.
    assert len(started) <= 4


def test_closing_leaves_no_thread_behind():
    before = set(threading.enumerate())
    made = prefetch(factorial, itertools.count())
    assert next(made) == 1
    assert set(threading.enumerate()) > before
    made.close()
    assert set(threading.enumerate()) == before


def test_endless_and_empty_ranges():
    assert list(prefetch(factorial, range(0))) == []
    assert list(itertools.islice(prefetch(factorial, itertools.count(2)), 3)) == [2, 6, 24]
