"""Groups hold every item once, in order, and end by size or count; offsets and listings match hand-made ones."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskling.arrays import offsets_of
from maskling.errors import listing
from maskling.grouping import grouped


@given(sizes=st.lists(st.integers(0, 9), max_size=40), max_size=st.integers(1, 20), max_count=st.integers(1, 7))
def test_groups_hold_every_item_once_and_end_where_they_are_full(sizes: list[int], max_size: int, max_count: int):
    groups = list(grouped(sizes, lambda size: size, max_size, max_count))
    assert list(itertools.chain(*groups)) == sizes
    for group in groups:
        assert sum(group[:-1]) < max_size
        assert 1 <= len(group) <= max_count
    for group in groups[:-1]:
        assert sum(group) >= max_size or len(group) == max_count


def test_an_item_is_taken_only_when_it_is_needed():
    def stream():
        yield from (1, 1, 1)
        raise RuntimeError("one item too many")

    assert next(grouped(stream(), lambda _: 1, 3)) == [1, 1, 1]


@given(st.lists(st.integers(0, 1000)))
def test_offsets_are_cumulative_sums(lengths: list[int]):
    offsets = offsets_of(lengths)
    assert offsets.dtype == np.int64
    assert offsets.tolist() == [sum(lengths[:end]) for end in range(len(lengths) + 1)]


@pytest.mark.parametrize(
    ("values", "text"), [([], "none"), (["a"], "a"), (["a", 2], "a, 2"), (["a", "b", "c"], "a, b, ...")]
)
def test_a_listing_shows_the_first_values(values: list[object], text: str):
    assert listing(values, shown=2) == text
