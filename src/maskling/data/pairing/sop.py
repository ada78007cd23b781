"""Pairing for sentence order prediction (SOP)."""

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

    Label 0 is the original order and 1 is swapped, as in ALBERT's `sentence_order_label`; some ports have it the other
    way round. Exactly half are swapped.
    """

    kind: Literal["sop"] = "sop"
    has_pairs: ClassVar[bool] = True

    def plan(self, split: Split, seq_length: int) -> Plan:
        """Plan spans of at least two words."""
        return HalvedPlan.of(split, seq_length - self.num_special)

    def segments(self, plan: Plan, epoch: Int64Array, index: Int64Array, seed: int) -> Segments:
        """Halve each span, and swap the halves in one of every two neighbours of the plan."""
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
