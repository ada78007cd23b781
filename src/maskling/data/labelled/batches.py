"""Rows of labelled sequences, ready for a model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Generic, TypeVar

import numpy as np

from maskling.arrays import Int64Array
from maskling.data.assemble import PackedRows, Text, lay_out
from maskling.data.labelled.encode_texts import Targets, Windows
from maskling.data.packing import BestFitPacking, Layout, Packing, dealt
from maskling.data.shards import ragged
from maskling.errors import DataError
from maskling.randomness import Shuffle

# FOLDED DOCS
# [examples] The labelled sequences of a run: in random order to learn from, and in their own to be judged on.


T = TypeVar("T", bound=Targets)


@dataclass(frozen=True)
class LabelledBatch(PackedRows, Generic[T]):
    """Rows of labelled sequences.

    lengths: (k,) int64, tokens of each sequence.
    records: (k,) int64, the number of the record each sequence is of.
    targets: of the k sequences.
    """

    lengths: Int64Array
    records: Int64Array
    targets: T

    @property
    def num_tokens(self) -> int:
        """Tokens that are not padding."""
        return int(self.lengths.sum())

    @property
    def fill(self) -> float:
        """The fraction of places that are not padding."""
        return self.num_tokens / max(1, self.rows * self.seq)


@dataclass(frozen=True)
class LabelledStep(Generic[T]):
    """Some sequences in rows, to be shared out over ranks and micro-batches.

    windows, targets: ordered by row and column. number: (k,) int64, which sequence of all each is.
    Every rank holds the whole step and lays out only its own rows.
    """

    windows: Windows
    targets: T
    number: Int64Array
    layout: Layout
    seq_length: int
    pad: int

    @classmethod
    def packed(
        cls, windows: Windows, targets: T, number: Int64Array, packing: Packing, seq_length: int, pad: int
    ) -> LabelledStep[T]:
        """Put sequences `number` of `windows` into rows."""
        layout = packing.pack(windows.length[number], seq_length)
        order = np.lexsort((layout.column, layout.row))
        number = number[order]
        layout = Layout(layout.row[order], layout.column[order], layout.num_rows)
        return cls(windows.take(number), targets.take(number), number, layout, seq_length, pad)

    @property
    def num_rows(self) -> int:
        """Rows over all ranks."""
        return self.layout.num_rows

    @property
    def num_tokens(self) -> int:
        """Tokens that are not padding, over all ranks."""
        return len(self.windows.ids)

    @cached_property
    def num_targets(self) -> float:
        """What the loss summed over all ranks is divided by."""
        return self.targets.total

    @property
    def fill(self) -> float:
        """The fraction of places that are not padding."""
        return self.num_tokens / max(1, self.num_rows * self.seq_length)

    def batches(self, micro_rows: int, rank: int = 0, world_size: int = 1) -> list[LabelledBatch[T]]:
        """The rows of one rank, in micro-batches of at most `micro_rows`; see `dealt`."""
        bounds = dealt(self.num_rows, micro_rows, rank, world_size)
        return [self._rows(first, last) for first, last in pairwise(bounds)]

    def place(self, micro_rows: int, rank: int = 0, world_size: int = 1) -> int:
        """Where in the whole step the sequences begin that `batches` gives a rank."""
        return int(np.searchsorted(self.layout.row, dealt(self.num_rows, micro_rows, rank, world_size)[0]))

    def _rows(self, first: int, last: int) -> LabelledBatch[T]:
        begin, end = np.searchsorted(self.layout.row, (first, last)).tolist()
        which = np.arange(begin, end)
        windows = self.windows.take(which)
        nothing = np.zeros(0, np.int64)
        text = Text(windows.ids, windows.ids, np.zeros(len(windows.ids), bool), windows.length, windows.second, nothing)
        part = Layout(self.layout.row[begin:end] - first, self.layout.column[begin:end], last - first)
        rows = lay_out(text, part, self.seq_length, self.pad)
        return LabelledBatch(
            input_ids=rows.input_ids,
            position_ids=rows.position_ids,
            token_type_ids=rows.token_type_ids,
            example_ids=rows.example_ids,
            first_positions=rows.first_positions,
            lengths=windows.length,
            records=windows.record,
            targets=self.targets.take(which),
        )


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

    def all(self, micro_rows: int, rank: int = 0, world_size: int = 1) -> Iterator[LabelledBatch[T]]:
        """Every record once, in the same rows whatever the seed; of each group of rows the part of one rank.

        `records` says which is where: within a group the packing decides the order.
        """
        tokens = np.add.reduceat(self.windows.length, self._first)
        group = (np.cumsum(tokens) - tokens) // GROUP_TOKENS
        for number in np.unique(group):
            yield from self._step(np.flatnonzero(group == number)).batches(micro_rows, rank, world_size)

    def _step(self, records: Int64Array) -> LabelledStep[T]:
        number = ragged(self._first[records], self._count[records])
        return LabelledStep.packed(self.windows, self.targets, number, self._packing, self.seq_length, self.pad)
