"""Packing: place whole examples of various lengths into rows of equal length, so that little padding remains.

Examples of one row must not attend to each other: `assemble.py` numbers them in `example_ids`, and the attention mask
is made from those numbers in `model/attention.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from maskling.arrays import Int64Array
from maskling.config import Settings, strategies_by_kind


@dataclass(frozen=True)
class Layout:
    """Where each example begins. row, column: (n,) int64; num_rows: number of rows."""

    row: Int64Array
    column: Int64Array
    num_rows: int


class Packing(Settings, ABC):
    """Place examples into rows of equal length. No example is cut or dropped, and no row is empty."""

    kind: str

    @abstractmethod
    def pack(self, lengths: NDArray[np.integer], seq_length: int) -> Layout:
        """Place examples of these lengths, special tokens included. lengths: (n,) integers in 1..seq_length."""


class BestFitPacking(Packing):
    """Fill rows with several examples: longest first, each in the row where it leaves the least room.

    Best-fit decreasing (Johnson 1974), which needs asymptotically at most 11/9 of the fewest rows possible and,
    with short and long examples mixed, hardly more than the fewest in practice.
    """

    kind: Literal["best-fit"] = "best-fit"

    def pack(self, lengths: NDArray[np.integer], seq_length: int) -> Layout:
        """Place each example in the fullest row that has room, the latest of equally full rows."""
        _check(lengths, seq_length)
        order = np.argsort(-lengths, kind="stable")
        rows, columns = [], []
        # Rows by the room they have left, and one bit per amount of room that some row has: the lowest bit at or
        # above a length is found in one operation on a Python integer.
        with_room: list[list[int]] = [[] for _ in range(seq_length + 1)]
        rooms = num_rows = 0
        for length in lengths[order].tolist():
            fitting = rooms >> length
            if fitting:
                room = length + (fitting & -fitting).bit_length() - 1
                row = with_room[room].pop()
                if not with_room[room]:
                    rooms ^= 1 << room
            else:
                room, row = seq_length, num_rows
                num_rows += 1
            rows.append(row)
            columns.append(seq_length - room)
            left = room - length
            if left:
                with_room[left].append(row)
                rooms |= 1 << left
        layout = Layout(np.empty(len(order), np.int64), np.empty(len(order), np.int64), num_rows)
        layout.row[order], layout.column[order] = rows, columns
        return layout


class NoPacking(Packing):
    """Place one example per row, padded."""

    kind: Literal["none"] = "none"

    def pack(self, lengths: NDArray[np.integer], seq_length: int) -> Layout:
        """Place example i in row i."""
        _check(lengths, seq_length)
        return Layout(np.arange(len(lengths)), np.zeros(len(lengths), np.int64), len(lengths))


def split_rows(layout: Layout, num_rows: int) -> Layout:
    """Spread the same examples over at least `num_rows` rows, so that the number of rows of a step is known beforehand.

    Missing rows are made by moving the last example out of rows that have several. A layout of more rows is returned
    as it is; fewer examples than `num_rows` give one row per example.
    """
    row, column, count = layout.row.copy(), layout.column.copy(), layout.num_rows
    while count < min(num_rows, len(row)):
        order = np.lexsort((column, row))
        last = order[np.append(np.diff(row[order]) != 0, True)]
        moved = last[column[last] > 0][: num_rows - count]
        row[moved] = np.arange(count, count + len(moved))
        column[moved] = 0
        count += len(moved)
    return Layout(row, column, count)


def micro_batch_bounds(num_rows: int, micro_rows: int, rank: int = 0, world_size: int = 1) -> list[int]:
    """Return where in `num_rows` rows each micro-batch of one rank begins, and where the last one ends.

    A micro-batch has at most `micro_rows` rows. Every rank gets the same number of micro-batches, and the sizes of
    all of them differ by at most one row: some are empty if there are fewer rows than micro-batches.
    """
    count = -(-num_rows // (micro_rows * world_size))
    bounds: list[int] = (np.arange(rank * count, (rank + 1) * count + 1) * num_rows // (count * world_size)).tolist()
    return bounds


def _check(lengths: NDArray[np.integer], seq_length: int) -> None:
    assert lengths.min(initial=1) >= 1
    assert lengths.max(initial=1) <= seq_length


PACKINGS: dict[str, type[Packing]] = strategies_by_kind(BestFitPacking, NoPacking)
