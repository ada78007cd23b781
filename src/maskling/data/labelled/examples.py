"""The labelled sequences of a run: in random order to learn from, and in their own to be judged on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic

import numpy as np

from maskling.arrays import Int64Array
from maskling.data.labelled.batch import LabelledBatch, LabelledStep, T
from maskling.data.labelled.windows import Windows
from maskling.data.packing import BestFitPacking, Packing
from maskling.data.shards import ragged
from maskling.errors import DataError
from maskling.randomness import Shuffle

# Tokens that are packed together where all records are read in order.
GROUP_TOKENS = 1 << 16


class LabelledExamples(Generic[T]):
    """Records in all epochs, one after the other without end.

    Record number g is place g % N of the random order of epoch g // N; a step takes `batch_size` numbers, with all
    windows of each. So a step is a function of the seed and its number, and an epoch may end inside one.
    """

    def __init__(
        self, windows: Windows, targets: T, *, seq_length: int, pad: int, seed: int = 0, packing: Packing | None = None
    ) -> None:
        """windows: of all records, those of a record together; targets: of the windows; pad: the id of [PAD].

        seq_length: tokens of a row. Raises DataError if there are no records.
        """
        if not len(windows):
            raise DataError("there are no records to learn from; give a file that has some")
        self.windows, self.targets = windows, targets
        self.seq_length, self.pad, self.seed = seq_length, pad, seed
        self._packing = packing or BestFitPacking()
        self._first = np.flatnonzero(np.diff(windows.record, prepend=-1))
        self._count = np.diff(self._first, append=len(windows))

    @property
    def num_records(self) -> int:
        """Records of an epoch."""
        return len(self._first)

    def step(self, step: int, batch_size: int) -> LabelledStep[T]:
        """The sequences of optimizer step `step`, counted from 0: all windows of `batch_size` records."""
        epoch, place = np.divmod(np.arange(step * batch_size, (step + 1) * batch_size), self.num_records)
        index = np.empty_like(place)
        for number in np.unique(epoch).tolist():
            here = epoch == number
            index[here] = Shuffle(self.num_records, self.seed, "order", number)[place[here]]
        return self._step(index)

    def all(self, micro_rows: int, rank: int = 0, world: int = 1) -> Iterator[LabelledBatch[T]]:
        """Every record once, in the same rows whatever the seed; of each group of rows the part of one rank.

        `records` says which is where: within a group the packing decides the order.
        """
        tokens = np.add.reduceat(self.windows.length, self._first)
        group = (np.cumsum(tokens) - tokens) // GROUP_TOKENS
        for number in np.unique(group):
            yield from self._step(np.flatnonzero(group == number)).batches(micro_rows, rank, world)

    def _step(self, records: Int64Array) -> LabelledStep[T]:
        number = ragged(self._first[records], self._count[records])
        return LabelledStep.packed(self.windows, self.targets, number, self._packing, self.seq_length, self.pad)
