"""Examples placed in rows, before any of their text is read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from maskling.arrays import Int64Array
from maskling.data.packing import Layout, Packing, spread
from maskling.data.pairing.strategy import Segments
from maskling.randomness import Shuffle


@dataclass(frozen=True)
class Rows:
    """Some examples, ordered by row and column.

    number: (k,) int64, of each example in the run; epoch, index: (k,) int64, which one that is.
    segments: of k examples. length: (k,) int64, their tokens, special ones counted. layout: where they begin.
    """

    number: Int64Array
    epoch: Int64Array
    index: Int64Array
    segments: Segments
    length: Int64Array
    layout: Layout

    def __getitem__(self, which: slice | Int64Array) -> Rows:
        """Some of the examples, where they are."""
        layout = Layout(self.layout.row[which], self.layout.column[which], self.layout.num_rows)
        columns = self.number[which], self.epoch[which], self.index[which], self.segments[which], self.length[which]
        return Rows(*columns, layout)

    def part(self, first: int, last: int) -> Rows:
        """Rows first to last - 1, counted from 0 again."""
        begin, end = np.searchsorted(self.layout.row, (first, last)).tolist()
        part = self[begin:end]
        layout = Layout(part.layout.row - first, part.layout.column, last - first)
        return Rows(part.number, part.epoch, part.index, part.segments, part.length, layout)

    def packed(
        self, packing: Packing, seq_length: int, at_least: int = 1, shuffle: tuple[int, int] | None = None
    ) -> Rows:
        """The same examples in rows made anew.

        at_least: how many rows; shuffle: the seed and number of a random order of the rows, since packing
        leaves the long examples in front.
        """
        layout = spread(packing.pack(self.length, seq_length), at_least)
        row = layout.row
        if shuffle is not None:
            row = Shuffle(layout.num_rows, shuffle[0], "rows", shuffle[1])[row]
        order = np.lexsort((layout.column, row))
        rows = self[order]
        layout = Layout(row[order], layout.column[order], layout.num_rows)
        return Rows(rows.number, rows.epoch, rows.index, rows.segments, rows.length, layout)
