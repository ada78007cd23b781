"""Which examples share a row."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from maskling.arrays import Int64Array
from maskling.config import Settings, table


@dataclass(frozen=True)
class Layout:
    """Where each example begins. row, column: (n,) int64."""

    row: Int64Array
    column: Int64Array
    num_rows: int


class Packing(Settings, ABC):
    """How examples are laid into rows of equal length. No example is cut or dropped, no row is empty."""

    kind: str

    @abstractmethod
    def pack(self, lengths: NDArray[np.integer], seq_length: int) -> Layout:
        """Place examples of these lengths, special tokens counted. lengths: (n,) integers in 1..seq_length."""


class BestFitPacking(Packing):
    """Fill rows with several examples: the longest first, each where it leaves the least room.

    Best-fit decreasing (Johnson 1974), which never needs more than 11/9 of the fewest rows possible and
    in practice, with short and long examples mixed, hardly more than those.
    """

    kind: Literal["best-fit"] = "best-fit"

    def pack(self, lengths: NDArray[np.integer], seq_length: int) -> Layout:
        """Place each example in the fullest row that has room; the last of several equals."""
        _check(lengths, seq_length)
        order = np.argsort(-lengths, kind="stable")
        rows, columns = [], []
        # Rows by the room they have left, and one bit for each room that some row has: the lowest bit at or
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
    """One example a row, padded."""

    kind: Literal["none"] = "none"

    def pack(self, lengths: NDArray[np.integer], seq_length: int) -> Layout:
        """Example i begins row i."""
        _check(lengths, seq_length)
        return Layout(np.arange(len(lengths)), np.zeros(len(lengths), np.int64), len(lengths))


def spread(layout: Layout, num_rows: int) -> Layout:
    """The same examples over `num_rows` rows, or as many as there are if those are more.

    Rows that are wanting are made by taking away the last example of rows that have several: so the rows of
    a step can be a number known beforehand. Fewer examples than rows stay fewer.
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


def dealt(num_rows: int, micro_rows: int, rank: int = 0, world_size: int = 1) -> list[int]:
    """Where in `num_rows` rows each micro-batch of one rank begins, and where the last ends.

    A micro-batch has at most `micro_rows` rows. Every rank gets the same number of them, and those of all ranks differ
    by one row at the most: some are empty where there are too few rows to go round.
    """
    count = -(-num_rows // (micro_rows * world_size))
    bounds: list[int] = (np.arange(rank * count, (rank + 1) * count + 1) * num_rows // (count * world_size)).tolist()
    return bounds


def _check(lengths: NDArray[np.integer], seq_length: int) -> None:
    assert lengths.min(initial=1) >= 1
    assert lengths.max(initial=1) <= seq_length


PACKINGS: dict[str, type[Packing]] = table(BestFitPacking, NoPacking)
