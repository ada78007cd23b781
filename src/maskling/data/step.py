"""The examples of one optimizer step, to be shared out over ranks and micro-batches."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from maskling.arrays import Int64Array
from maskling.data.batch import Batch, lay_out
from maskling.data.packing import Layout, dealt
from maskling.data.text import Text


@dataclass(frozen=True)
class Step:
    """Examples with their masks, in rows.

    text: the examples, ordered by row and column; layout: where each begins.
    number: (k,) int64, the number of each in the run, to look at one with `Examples.example`.

    Every rank holds the whole step in this form, some ten bytes a token, and lays out only its own
    rows: so the totals that losses are divided by are known to all before the first backward.
    """

    text: Text
    layout: Layout
    number: Int64Array
    seq_length: int
    pad: int

    @property
    def num_rows(self) -> int:
        """Rows over all ranks."""
        return self.layout.num_rows

    @property
    def num_predictions(self) -> int:
        """Tokens to predict, over all ranks."""
        return int(np.count_nonzero(self.text.chosen))

    @property
    def num_pairs(self) -> int:
        """Pairs to judge, over all ranks."""
        return len(self.text.pair_labels)

    @property
    def num_tokens(self) -> int:
        """Tokens that are not padding, over all ranks."""
        return len(self.text.ids)

    def batches(self, micro_rows: int, rank: int = 0, world: int = 1) -> list[Batch]:
        """The rows of one rank, in micro-batches of at most `micro_rows`; see `dealt`."""
        bounds = dealt(self.num_rows, micro_rows, rank, world)
        return [self._rows(first, last) for first, last in pairwise(bounds)]

    def _rows(self, first: int, last: int) -> Batch:
        begin, end = np.searchsorted(self.layout.row, (first, last)).tolist()
        part = Layout(self.layout.row[begin:end] - first, self.layout.column[begin:end], last - first)
        return lay_out(self.text.part(begin, end), part, self.seq_length, self.pad)
