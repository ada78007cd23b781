"""A span split in two, and which of its two halves is to be disturbed."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from maskling.arrays import Int64Array, UInt64Array
from maskling.data.boundaries import Boundaries
from maskling.data.plan import Plan, cut
from maskling.data.shards import Split
from maskling.randomness import bits, keys, uniforms


@dataclass(frozen=True, kw_only=True)
class HalvedPlan(Plan):
    """Spans of at least two words, and where their sentences are."""

    boundaries: Boundaries

    @classmethod
    def of(cls, split: Split, goal: int) -> HalvedPlan:
        """Cut a split; spans of one word cannot be halved and are left out."""
        plan = cut(split, goal, min_words=2)
        return cls(**{field.name: getattr(plan, field.name) for field in fields(plan)}, boundaries=Boundaries(split))

    def middles(self, index: Int64Array, key: UInt64Array, counter: int) -> Int64Array:
        """Where spans are split: at one of the sentences that start inside, else at one of the words.

        Every such place is equally likely. index: (n,) int64; key: (n,) uint64. Returns (n,) int64 token offsets.
        """
        begin = self.start[index]
        end = begin + self.length[index]
        draw = uniforms(key, counter)
        first = self.boundaries.sentences_before(begin + 1)
        count = self.boundaries.sentences_before(end) - first
        middle = self.boundaries.sentence_start(first + (draw * count).astype(np.int64))
        alone = np.flatnonzero(count == 0)
        if alone.size:
            middle[alone] = self.boundaries.word_start(begin[alone] + 1, end[alone], draw[alone])
        return middle


def disturbed(seed: int, purpose: str, epoch: Int64Array, index: Int64Array) -> NDArray[np.bool_]:
    """Which examples get label 1: one of examples 2k and 2k+1, by a coin for each epoch and k. (n,) bool.

    So exactly half of an epoch is disturbed (of an odd number, one half rounded up or down), and
    over the epochs every example is seen both ways.
    """
    coin = bits(keys(seed, f"{purpose} coin", epoch, index // 2), 0) & np.uint64(1)
    return (coin ^ (index & 1).astype(np.uint64)).astype(bool)
