from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from maskling.corpus.dedup import SeenDigests

# Few values that share their low bits, so that they crowd the same places of the table.
CROWDED = st.integers(0, 40).map(lambda i: (i % 5) + (i << 40))


@given(digests=st.lists(st.one_of(CROWDED, st.integers(0, 2**64 - 1))))
def test_agrees_with_a_set(digests: list[int]) -> None:
    seen, model = SeenDigests(), set[int]()
    for digest in digests:
        assert (digest in seen) == (digest in model)
        assert seen.add(digest) == (digest not in model)
        model.add(digest)
        assert len(seen) == len(model)
    assert all(digest in SeenDigests(digests) for digest in digests)


def test_grows_and_takes_at_most_24_bytes_a_digest() -> None:
    draw = random.Random(1)
    digests = [draw.getrandbits(64) for _ in range(20_011)]
    seen = SeenDigests(digests)
    assert len(seen) == len(set(digests))
    assert all(digest in seen for digest in digests)
    assert seen.num_bytes <= 24.1 * len(seen)
