"""Rows of labelled sequences, ready for a model."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Generic, TypeVar

import numpy as np

from maskling.arrays import Int64Array
from maskling.data.batch import PackedRows, lay_out
from maskling.data.labelled.targets import Targets
from maskling.data.labelled.windows import Windows
from maskling.data.packing import Layout, Packing, dealt
from maskling.data.text import Text

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

    def batches(self, micro_rows: int, rank: int = 0, world: int = 1) -> list[LabelledBatch[T]]:
        """The rows of one rank, in micro-batches of at most `micro_rows`; see `dealt`."""
        bounds = dealt(self.num_rows, micro_rows, rank, world)
        return [self._rows(first, last) for first, last in pairwise(bounds)]

    def place(self, micro_rows: int, rank: int = 0, world: int = 1) -> int:
        """Where in the whole step the sequences begin that `batches` gives a rank."""
        return int(np.searchsorted(self.layout.row, dealt(self.num_rows, micro_rows, rank, world)[0]))

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
