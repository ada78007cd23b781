"""Draws are functions of their arguments, uniform, and readable at any index."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskling.randomness import Shuffle, below, bits, integer, keys, stream, uniforms


@given(size=st.integers(1, 3000), seed=st.integers(0, 2**63 - 1), epoch=st.integers(0, 100))
def test_a_shuffle_is_a_permutation(size, seed, epoch):
    shuffle = Shuffle(size, seed, "order", epoch)
    assert np.array_equal(np.sort(shuffle[np.arange(size)]), np.arange(size))


def test_a_shuffle_gives_the_same_value_for_one_index_as_for_all():
    shuffle = Shuffle(1009, 7, "order", 3)
    everything = shuffle[np.arange(1009)]
    assert [int(shuffle[np.array([place])][0]) for place in (0, 500, 1008)] == everything[[0, 500, 1008]].tolist()


def test_shuffles_of_a_small_set_are_close_to_uniform_over_orders():
    counts: dict[tuple[int, ...], int] = {}
    for epoch in range(6000):
        order = tuple(Shuffle(3, 11, "order", epoch)[np.arange(3)].tolist())
        counts[order] = counts.get(order, 0) + 1
    assert len(counts) == 6
    # Six cells of 1,000 expected: chi-square with 5 degrees of freedom stays under 20.5 with p = 0.999.
    assert sum((count - 1000) ** 2 / 1000 for count in counts.values()) < 20.5


def test_an_index_out_of_range_is_refused():
    with pytest.raises(IndexError):
        Shuffle(5, 0, "order")[np.array([5])]


def test_uniforms_fill_the_unit_interval_evenly_over_keys_and_counters():
    draws = uniforms(keys(3, "mask", 0, np.arange(500))[:, None], np.arange(128)[None, :])
    counts, _ = np.histogram(draws, bins=64, range=(0, 1))
    expected = draws.size / 64
    assert draws.min() >= 0
    assert draws.max() < 1
    # 63 degrees of freedom: 103.4 is the 0.999 point.
    assert ((counts - expected) ** 2 / expected).sum() < 103.4
    assert abs(np.corrcoef(draws[:-1].ravel(), draws[1:].ravel())[0, 1]) < 0.02
    assert abs(np.corrcoef(draws[:, :-1].ravel(), draws[:, 1:].ravel())[0, 1]) < 0.02


def test_a_draw_depends_on_each_of_its_arguments():
    index = np.arange(4)
    base = bits(keys(1, "mask", 0, index), 0)
    for other in (
        bits(keys(2, "mask", 0, index), 0),
        bits(keys(1, "pair", 0, index), 0),
        bits(keys(1, "mask", 1, index), 0),
        bits(keys(1, "mask", 0, index + 4), 0),
        bits(keys(1, "mask", 0, index), 1),
    ):
        assert not (base == other).any()


def test_below_stays_below_and_reaches_everything():
    draws = below(keys(5, "pick", 0, np.arange(1000)), 0, 7)
    assert set(draws.tolist()) == set(range(7))
    assert below(keys(5, "pick", 0, np.arange(3)), 0, 0).tolist() == [0, 0, 0]


def test_another_process_draws_the_same():
    code = (
        "import numpy as np; from maskling.randomness import *;"
        "print(stream(1,'a',2).random(), integer(1,'a'), keys(1,'a',2,np.arange(2)).tolist())"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    mine = f"{stream(1, 'a', 2).random()} {integer(1, 'a')} {keys(1, 'a', 2, np.arange(2)).tolist()}\n"
    assert told == mine
