"""The interface of a pairing strategy: a plan for all epochs, and the segments of any of its examples."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from maskling.arrays import Int64Array
from maskling.config import Settings
from maskling.data.plan import Plan
from maskling.data.shards import Split


@dataclass(frozen=True)
class Segments:
    """The segments A and B of each example, as spans of tokens counted from the start of the split.

    a_start, a_length, b_start, b_length: (n,) int64; B is empty if there is no pair.
    label: (n,) int64, 0 for a true next or the original order, 1 for a random next or swapped order, -1 for no pair.
    """

    a_start: Int64Array
    a_length: Int64Array
    b_start: Int64Array
    b_length: Int64Array
    label: Int64Array

    def __len__(self) -> int:
        return len(self.a_start)

    def __getitem__(self, which: slice | NDArray[np.integer]) -> Segments:
        return Segments(
            self.a_start[which], self.a_length[which], self.b_start[which], self.b_length[which], self.label[which]
        )


class Pairing(Settings, ABC):
    """Choose the tokens of segments A and B of each example, and the label of a sentence objective."""

    kind: str
    has_pairs: ClassVar[bool]

    @property
    def num_special(self) -> int:
        """Number of special tokens: [CLS] A [SEP], then B [SEP] if there are pairs."""
        return 3 if self.has_pairs else 2

    @abstractmethod
    def plan(self, split: Split, seq_length: int) -> Plan:
        """Plan the spans of all epochs. Raises DataError if the split cannot give such examples."""

    @abstractmethod
    def segments(self, plan: Plan, epoch: Int64Array, index: Int64Array, seed: int) -> Segments:
        """Return the segments of example `index` of `epoch`, a function of the arguments alone.

        plan: what `plan` returned; epoch, index: (n,) int64.
        """
