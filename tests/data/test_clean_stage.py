"""The limit below which a document's digest holds it out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from maskling.data.prepare.clean_stage import adjusted_held_out_limit, held_out_limit
from maskling.data.prepare.parts import ReadCounts, TextPart

digests = st.integers(0, 2**64 - 1)


def part(some: list[int]) -> TextPart:
    sums = "0" * 32
    return TextPart(
        number=0, tally=ReadCounts(), text=sums, words=None, num_seen=0, seen=sums, digests=(min(some), max(some))
    )


@given(
    parts=st.lists(st.lists(digests, min_size=1, max_size=4), min_size=1, max_size=4), fraction=st.floats(0.001, 0.99)
)
def test_neither_split_is_empty_if_possible(parts: list[list[int]], fraction: float):
    every = {digest for some in parts for digest in some}
    below = adjusted_held_out_limit(fraction, [part(some) for some in parts])
    held_out = {digest for digest in every if digest < below}
    assert held_out != every
    assert bool(held_out) == (len(every) > 1)
    usual = {digest for digest in every if digest < held_out_limit(fraction)}
    if usual and usual != every:
        assert held_out == usual
    else:
        assert held_out in (set(), {min(every)}, every - {max(every)})


def test_nothing_is_held_out_of_an_empty_corpus_or_at_fraction_zero():
    assert adjusted_held_out_limit(0.0, [part([1, 5])]) == 0
    assert adjusted_held_out_limit(0.5, []) == 0


def test_the_fraction_is_that_of_all_digests():
    assert held_out_limit(0.25) == 1 << 62
