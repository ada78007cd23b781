"""Two segments that follow each other, or do not."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from maskling.data.pairing.halves import HalvedPlan, disturbed
from maskling.data.pairing.strategy import Pairing, Segments
from maskling.data.plan import Int64Array, Plan, stops
from maskling.data.shards import Split
from maskling.errors import DataError
from maskling.randomness import UInt64Array, below, keys


class NspPairing(Pairing):
    """Next sentence prediction: B goes on from A, or comes from another document (Devlin et al. 2019, section 3.1).

    Unlike the original code, exactly half of the examples are random and a random B never comes
    from A's own document. So that nothing but the text tells the two apart, a random B begins
    where a true one might have (the split of another span), may be as long as the true one
    was, and ends by the same rule. The true B that it replaces is not seen in that place in that
    epoch; the coin of another epoch shows it.
    """

    kind: Literal["nsp"] = "nsp"
    has_pairs: ClassVar[bool] = True

    def plan(self, split: Split, seq_length: int) -> Plan:
        """Spans of two words or more. Raises DataError for a split of one document."""
        plan = HalvedPlan.of(split, seq_length - self.num_special)
        if len(plan.document_first) < 3:
            raise DataError(
                "pairing.kind 'nsp' takes the random half of its pairs from other documents, but this split has only "
                "one with two words; prepare more documents, or use pairing.kind 'sop' or 'single'"
            )
        return plan

    def segments(self, plan: Plan, epoch: Int64Array, index: Int64Array, seed: int) -> Segments:
        """Halve each span, and replace the second half of one of each two neighbours of the plan."""
        assert isinstance(plan, HalvedPlan)
        key = keys(seed, "nsp", epoch, index)
        middle = plan.middles(index, key, 0)
        b_start = middle.copy()
        b_length = plan.start[index] + plan.length[index] - middle
        label = disturbed(seed, "nsp", epoch, index)
        which = np.flatnonzero(label)
        b_start[which], b_length[which] = _elsewhere(plan, index[which], key[which], b_length[which])
        return Segments(plan.start[index], middle - plan.start[index], b_start, b_length, label.astype(np.int64))


def _elsewhere(
    plan: HalvedPlan, index: Int64Array, key: UInt64Array, room: Int64Array
) -> tuple[Int64Array, Int64Array]:
    """Start and length of text from other documents, of at most `room` tokens. All (n,) int64."""
    document = plan.document(index)
    own, after = plan.document_first[document], plan.document_first[document + 1]
    # Any span but those of the own document, in one draw: number the others and step over the own ones.
    other = below(key, 1, len(plan) - (after - own))
    other += (other >= own) * (after - own)
    begin = plan.middles(other, key, 2)
    last = plan.document_first[plan.document(other) + 1] - 1
    end = plan.start[last] + plan.length[last]
    limit = np.minimum(begin + room, end)
    whole = plan.boundaries.sentence_start(plan.boundaries.sentences_before(limit + 1) - 1)
    word = plan.boundaries.word_start(begin + 1, limit + (limit < end), np.ones(len(begin)))
    return begin, stops(begin, limit, end, np.maximum(whole, begin), word, plan.goal) - begin
