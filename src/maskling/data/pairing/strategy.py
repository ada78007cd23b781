"""What every pairing gives: a plan for all epochs, and the segments of any of its examples."""

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
    """The two runs of tokens of each example, counted from the start of the split.

    a_start, a_length, b_start, b_length: (n,) int64; B is empty where there is no pair.
    label: (n,) int64, 0 for a true next or a right order, 1 for a random next or a swapped order, -1 for no pair.
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
    """How an example is made of text: which tokens stand in segments A and B, and whether B belongs there."""

    kind: str
    has_pairs: ClassVar[bool]

    @property
    def num_special(self) -> int:
        """[CLS] A [SEP], and B [SEP] where there are pairs."""
        return 3 if self.has_pairs else 2

    @abstractmethod
    def plan(self, split: Split, seq_length: int) -> Plan:
        """What all epochs are made of. Raises DataError where the split cannot give such examples."""

    @abstractmethod
    def segments(self, plan: Plan, epoch: Int64Array, index: Int64Array, seed: int) -> Segments:
        """The segments of example `index` of `epoch`, a function of the arguments alone.

        plan: what `plan` returned; epoch, index: (n,) int64.
        """
