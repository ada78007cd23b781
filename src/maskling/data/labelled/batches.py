"""Batches of labelled sequences: in random order for training, in file order for evaluation.

A step packs the windows of `batch_size` records into rows, which are split into the micro-batches of each rank.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Generic, TypeVar

import numpy as np

from maskling.arrays import Int64Array, offsets_of
from maskling.data.assemble import MaskedExamples, PackedRows, collate
from maskling.data.labelled.encode_texts import Targets, Windows
from maskling.data.packing import BestFitPacking, Layout, Packing, micro_batch_bounds
from maskling.data.shards import ragged
from maskling.errors import DataError
from maskling.randomness import Shuffle

_T = TypeVar("_T", bound=Targets)


@dataclass(frozen=True)
class LabelledBatch(PackedRows, Generic[_T]):
    """Packed rows of labelled sequences.

    lengths: (k,) int64, tokens per sequence.
    records: (k,) int64, index of each sequence's record.
    targets: of the k sequences.
    """

    lengths: Int64Array
    records: Int64Array
    targets: _T

    @property
    def num_tokens(self) -> int:
        """Number of tokens that are not padding."""
        return int(self.lengths.sum())

    @property
    def fill(self) -> float:
        """Fraction of positions that are not padding."""
        return self.num_tokens / max(1, self.rows * self.seq)


@dataclass(frozen=True)
class LabelledStep(Generic[_T]):
    """The sequences of one step in packed rows, to be split over ranks and micro-batches.

    windows, targets: ordered by row and column. window: (k,) int64, index of each sequence among all windows.
    Every rank holds the whole step and lays out only its own rows.
    """

    windows: Windows
    targets: _T
    window: Int64Array
    layout: Layout
    seq_length: int
    pad: int

    @classmethod
    def packed(
        cls, windows: Windows, targets: _T, window: Int64Array, packing: Packing, seq_length: int, pad: int
    ) -> LabelledStep[_T]:
        """Pack the sequences with indices `window` into rows."""
        layout = packing.pack(windows.length[window], seq_length)
        order = np.lexsort((layout.column, layout.row))
        window = window[order]
        layout = Layout(layout.row[order], layout.column[order], layout.num_rows)
        return cls(windows.take(window), targets.take(window), window, layout, seq_length, pad)

    @property
    def num_rows(self) -> int:
        """Number of rows over all ranks."""
        return self.layout.num_rows

    @property
    def num_tokens(self) -> int:
        """Number of tokens that are not padding, over all ranks."""
        return len(self.windows.ids)

    @cached_property
    def num_targets(self) -> float:
        """The count by which the loss summed over all ranks is divided."""
        return self.targets.total

    @property
    def fill(self) -> float:
        """Fraction of positions that are not padding."""
        return self.num_tokens / max(1, self.num_rows * self.seq_length)

    def batches(self, micro_rows: int, rank: int = 0, world_size: int = 1) -> list[LabelledBatch[_T]]:
        """Return the rows of one rank as micro-batches of at most `micro_rows` rows; see `micro_batch_bounds`."""
        bounds = micro_batch_bounds(self.num_rows, micro_rows, rank, world_size)
        return [self._rows(first, last) for first, last in pairwise(bounds)]

    def first_sequence(self, micro_rows: int, rank: int = 0, world_size: int = 1) -> int:
        """Return the index in the whole step of the first sequence that `batches` gives a rank."""
        return int(np.searchsorted(self.layout.row, micro_batch_bounds(self.num_rows, micro_rows, rank, world_size)[0]))

    def _rows(self, first: int, last: int) -> LabelledBatch[_T]:
        begin, end = np.searchsorted(self.layout.row, (first, last)).tolist()
        which = np.arange(begin, end)
        windows = self.windows.take(which)
        nothing = np.zeros(0, np.int64)
        text = MaskedExamples(
            windows.ids, windows.ids, np.zeros(len(windows.ids), bool), windows.length, windows.second, nothing
        )
        part = Layout(self.layout.row[begin:end] - first, self.layout.column[begin:end], last - first)
        rows = collate(text, part, self.seq_length, self.pad)
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


# Tokens packed together where all records are read in file order.
GROUP_TOKENS = 1 << 16


class LabelledExamples(Generic[_T]):
    """All records, shuffled anew in every epoch, without end.

    Draw g is position g % N in the random order of epoch g // N; a step takes `batch_size` draws, with all windows of
    each record. So a step is a function of the seed and its number, and an epoch may end inside one.
    """

    def __init__(
        self, windows: Windows, targets: _T, *, seq_length: int, pad: int, seed: int = 0, packing: Packing | None = None
    ) -> None:
        """windows: of all records, those of one record adjacent. targets: of the windows. pad: the id of [PAD].

        seq_length: tokens per row. Raises DataError if there are no records.
        """
        if not len(windows):
            raise DataError("there are no records to train on; give a file that has some")
        self.windows, self.targets = windows, targets
        self.seq_length, self.pad, self.seed = seq_length, pad, seed
        self._packing = packing or BestFitPacking()
        self._first = np.flatnonzero(np.diff(windows.record, prepend=-1))
        self._count = np.diff(self._first, append=len(windows))

    @property
    def num_records(self) -> int:
        """Number of records per epoch."""
        return len(self._first)

    def step(self, step: int, batch_size: int) -> LabelledStep[_T]:
        """Return the sequences of optimizer step `step`, counted from 0: all windows of `batch_size` records."""
        epochs, positions = np.divmod(np.arange(step * batch_size, (step + 1) * batch_size), self.num_records)
        index = np.empty_like(positions)
        for epoch in np.unique(epochs).tolist():
            here = epochs == epoch
            index[here] = Shuffle(self.num_records, self.seed, "order", epoch)[positions[here]]
        return self._step(index)

    def all(self, micro_rows: int, rank: int = 0, world_size: int = 1) -> Iterator[LabelledBatch[_T]]:
        """Yield every record once, in rows that do not depend on the seed; of each group of rows the part of one rank.

        Packing decides the order within a group; `records` of a batch holds it.
        """
        tokens = np.add.reduceat(self.windows.length, self._first)
        group_of = offsets_of(tokens)[:-1] // GROUP_TOKENS
        for group in np.unique(group_of):
            yield from self._step(np.flatnonzero(group_of == group)).batches(micro_rows, rank, world_size)

    def _step(self, records: Int64Array) -> LabelledStep[_T]:
        window = ragged(self._first[records], self._count[records])
        return LabelledStep.packed(self.windows, self.targets, window, self._packing, self.seq_length, self.pad)
