"""Two consecutive segments, in order or swapped."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from maskling.arrays import Int64Array
from maskling.data.pairing.halves import HalvedPlan, disturbed
from maskling.data.pairing.strategy import Pairing, Segments
from maskling.data.plan import Plan
from maskling.data.shards import Split
from maskling.randomness import keys


class SopPairing(Pairing):
    """Sentence order prediction: the halves of a span, swapped in half of the examples (Lan et al. 2020, ALBERT, 3.1).

    Label 0 is the right order, 1 swapped: the numbers of the pair, not ALBERT's
    `sentence_order_label`, are the other way round in some ports. Exactly half are swapped.
    """

    kind: Literal["sop"] = "sop"
    has_pairs: ClassVar[bool] = True

    def plan(self, split: Split, seq_length: int) -> Plan:
        """Spans of two words or more."""
        return HalvedPlan.of(split, seq_length - self.num_special)

    def segments(self, plan: Plan, epoch: Int64Array, index: Int64Array, seed: int) -> Segments:
        """Halve each span, and swap one of each two neighbours of the plan."""
        assert isinstance(plan, HalvedPlan)
        begin = plan.start[index]
        middle = plan.middles(index, keys(seed, "sop", epoch, index), 0)
        first, second = middle - begin, begin + plan.length[index] - middle
        swap = disturbed(seed, "sop", epoch, index)
        return Segments(
            a_start=np.where(swap, middle, begin),
            a_length=np.where(swap, second, first),
            b_start=np.where(swap, begin, middle),
            b_length=np.where(swap, first, second),
            label=swap.astype(np.int64),
        )
