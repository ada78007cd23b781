"""Rows of tokens, ready for a model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maskling.data.packing import Layout
from maskling.data.shards import ragged
from maskling.data.text import Text


@dataclass(frozen=True)
class PackedRows:
    """Rows of `seq` tokens, each of one or more whole examples that must not see each other.

    input_ids, position_ids, token_type_ids: (rows, seq) int32; positions begin anew in each example.
    example_ids: (rows, seq) int32, number of the example within its row, -1 where there is padding.
    first_positions: (k,) int64, flat places of the [CLS] of each example, ascending.
    """

    input_ids: NDArray[np.int32]
    position_ids: NDArray[np.int32]
    token_type_ids: NDArray[np.int32]
    example_ids: NDArray[np.int32]
    first_positions: NDArray[np.int64]

    @property
    def rows(self) -> int:
        """How many rows."""
        return len(self.input_ids)

    @property
    def seq(self) -> int:
        """Tokens of a row, padding included."""
        return int(self.input_ids.shape[1])


@dataclass(frozen=True)
class Batch(PackedRows):
    """Rows to predict masked tokens in.

    masked_positions: (n,) int64, flat places in (rows, seq) to predict, ascending.
    labels: (n,) int64, the tokens that stood there.
    pair_labels: (k,) int64, or (0,) where there are no pairs.

    int32 is what an embedding takes as it is, at half the traffic; only the labels of a
    cross-entropy must be int64, and flat places are where rows times seq could pass 2**31.
    A batch of no rows exists only where a step has fewer rows than there are ranks.
    """

    masked_positions: NDArray[np.int64]
    labels: NDArray[np.int64]
    pair_labels: NDArray[np.int64]
    num_tokens: int

    @property
    def fill(self) -> float:
        """The fraction of places that are not padding."""
        return self.num_tokens / max(1, self.rows * self.seq)


def lay_out(text: Text, layout: Layout, seq: int, pad: int) -> Batch:
    """Put examples in their rows.

    text: some examples with their masks; layout: where each begins, rows and columns ascending together, the first
    row 0.
    """
    shape = layout.num_rows, seq
    length = text.length
    begin = layout.row * seq + layout.column
    # Number within its row: how far an example is from the first of that row.
    within = (np.arange(len(begin)) - np.searchsorted(layout.row, layout.row)).astype(np.int32)
    position = ragged(np.zeros(len(length), np.int64), length)
    place = ragged(begin, length)

    def rows_of(values: NDArray[np.generic], padding: int) -> NDArray[np.int32]:
        rows = np.full(shape, padding, np.int32)
        rows.reshape(-1)[place] = values
        return rows

    return Batch(
        input_ids=rows_of(text.seen, pad),
        position_ids=rows_of(position, 0),
        token_type_ids=rows_of(position >= np.repeat(text.second, length), 0),
        example_ids=rows_of(np.repeat(within, length), -1),
        masked_positions=place[text.chosen],
        labels=text.ids[text.chosen].astype(np.int64),
        first_positions=begin,
        pair_labels=text.pair_labels,
        num_tokens=len(place),
    )
