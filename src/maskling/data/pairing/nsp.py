"""Pairing for next sentence prediction (NSP)."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from maskling.arrays import Int64Array, UInt64Array
from maskling.data.pairing.halves import HalvedPlan, disturbed
from maskling.data.pairing.strategy import Pairing, Segments
from maskling.data.plan import Plan
from maskling.data.shards import Split
from maskling.errors import DataError
from maskling.randomness import below, keys


class NspPairing(Pairing):
    """Next sentence prediction: B follows A, or comes from another document (Devlin et al. 2019, section 3.1).

    Unlike the original code, exactly half of the examples are random and a random B never comes
    from A's own document. So that the two are distinguished by their text and little else, a random B begins
    where a true one might have (the split of another span), is about as long as the true one was,
    if its document is, and ends with a sentence or between two words as the true one did. The true
    B that it replaces does not occur after its A in that epoch; it does in epochs with the other label.
    """

    kind: Literal["nsp"] = "nsp"
    has_pairs: ClassVar[bool] = True

    def plan(self, split: Split, seq_length: int) -> Plan:
        """Plan spans of at least two words. Raises DataError for a split of one document."""
        plan = HalvedPlan.of(split, seq_length - self.num_special)
        if len(plan.document_first) < 3:
            raise DataError(
                "pairing.kind 'nsp' takes the random half of its pairs from other documents, but this split has only "
                "one with two words; prepare more documents, or use pairing.kind 'sop' or 'single'"
            )
        return plan

    def segments(self, plan: Plan, epoch: Int64Array, index: Int64Array, seed: int) -> Segments:
        """Halve each span, and replace the second half in one of every two neighbours of the plan."""
        assert isinstance(plan, HalvedPlan)
        key = keys(seed, "nsp", epoch, index)
        middle = plan.middles(index, key, 0)
        end = plan.start[index] + plan.length[index]
        b_start, b_end = middle.copy(), end.copy()
        label = disturbed(seed, "nsp", epoch, index)
        which = np.flatnonzero(label)
        b_start[which], b_end[which] = _elsewhere(plan, index[which], key[which], middle[which])
        return Segments(plan.start[index], middle - plan.start[index], b_start, b_end - b_start, label.astype(np.int64))


def _elsewhere(
    plan: HalvedPlan, index: Int64Array, key: UInt64Array, middle: Int64Array
) -> tuple[Int64Array, Int64Array]:
    """Return begin and end of text from other documents, to replace the spans `index` after `middle`. All (n,)."""
    boundaries = plan.boundaries
    true_end = plan.start[index] + plan.length[index]
    room = true_end - middle
    # Any span of another document, in one draw: count only those, and skip over the own ones.
    own, after_own = plan.of_same_document(index)
    other = below(key, 1, len(plan) - (after_own - own))
    other += (other >= own) * (after_own - own)
    first, after_last = plan.of_same_document(other)
    text_begin, text_end = plan.start[first], plan.start[after_last - 1] + plan.length[after_last - 1]
    # A random B too near the end of its document to be as long as the true B begins some sentences earlier: otherwise
    # a short example would more often than not be a random one.
    begin = np.minimum(plan.middles(other, key, 2), np.maximum(boundaries.last_sentence(text_end - room), text_begin))
    limit = np.minimum(begin + room, text_end)
    # If the true B ended with a sentence, end at the sentence nearest to the same length; else at the last word that
    # fits.
    earlier, later = boundaries.last_sentence(limit), boundaries.next_sentence(limit)
    farthest = np.minimum(begin + plan.goal - (middle - plan.start[index]), text_end)
    nearest = np.where((later <= farthest) & (later - limit < limit - earlier), later, earlier)
    word = boundaries.word_start(begin + 1, limit + (limit < text_end), np.ones(len(begin)))
    whole = (boundaries.next_sentence(true_end) == true_end) & (nearest > begin)
    cut = np.where(word > begin, word, limit)
    return begin, np.where(limit == text_end, text_end, np.where(whole, nearest, cut))
