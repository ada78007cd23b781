"""Rows hold whole examples side by side, as best-fit decreasing lays them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskling.data.packing import PACKINGS, BestFitPacking, NoPacking, split_rows
from oracles.best_fit import best_fit_decreasing

lengths = st.lists(st.integers(1, 37), min_size=1, max_size=80)


def rows_of(layout, lengths, seq):
    """The places each row covers; fails where two examples overlap or one sticks out."""
    rows = [[] for _ in range(layout.num_rows)]
    for row, column, length in zip(layout.row.tolist(), layout.column.tolist(), lengths, strict=True):
        assert 0 <= column <= seq - length
        rows[row] += range(column, column + length)
    return rows


@pytest.mark.parametrize("strategy", PACKINGS.values(), ids=PACKINGS)
@given(lengths=lengths, more=st.integers(0, 90))
def test_examples_are_whole_and_adjacent_from_the_left(strategy, lengths, more):
    layout = strategy().pack(np.array(lengths), 37)
    for packed in (layout, split_rows(layout, layout.num_rows + more)):
        for row in rows_of(packed, lengths, 37):
            assert row
            assert sorted(row) == list(range(len(row)))


@given(lengths=lengths)
def test_best_fit_decreasing_as_the_slow_one(lengths):
    layout = BestFitPacking().pack(np.array(lengths), 37)
    slow = best_fit_decreasing(lengths, 37)
    assert sorted(map(len, rows_of(layout, lengths, 37))) == sorted(map(sum, slow))


def test_no_packing_gives_each_example_a_row():
    layout = NoPacking().pack(np.array([3, 1, 2]), 5)
    assert (layout.row.tolist(), layout.column.tolist(), layout.num_rows) == ([0, 1, 2], [0, 0, 0], 3)


@given(lengths=lengths, num_rows=st.integers(1, 100))
def test_split_rows_reaches_the_given_number_of_rows(lengths, num_rows):
    layout = BestFitPacking().pack(np.array(lengths), 37)
    assert split_rows(layout, num_rows).num_rows == max(layout.num_rows, min(num_rows, len(lengths)))


def test_an_example_longer_than_a_row_cannot_be():
    with pytest.raises(AssertionError):
        BestFitPacking().pack(np.array([6]), 5)
