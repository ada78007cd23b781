"""One segment per example and no sentence objective."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from maskling.arrays import Int64Array
from maskling.data.pairing.strategy import Pairing, Segments
from maskling.data.plan import Plan, cut_spans
from maskling.data.shards import Split


class SinglePairing(Pairing):
    """One span of text per example, for masked tokens alone (Liu et al. 2019, RoBERTa, section 4.2, DOC-SENTENCES)."""

    kind: Literal["single"] = "single"
    has_pairs: ClassVar[bool] = False

    def plan(self, split: Split, seq_length: int) -> Plan:
        """Plan the spans that fit between [CLS] and [SEP]."""
        return cut_spans(split, seq_length - self.num_special)

    def segments(self, plan: Plan, _epoch: Int64Array, index: Int64Array, _seed: int) -> Segments:
        """Return the span itself, in every epoch."""
        none = np.zeros(len(index), np.int64)
        return Segments(plan.start[index], plan.length[index].astype(np.int64), none, none, none - 1)
