"""Best-fit decreasing, by looking at every row for every example."""

from __future__ import annotations


def best_fit_decreasing(lengths: list[int], seq: int) -> list[list[int]]:
    """The lengths in each row, rows in the order they were opened."""
    rows: list[list[int]] = []
    for length in sorted(lengths, reverse=True):
        fitting = [row for row in rows if sum(row) + length <= seq]
        if fitting:
            max(fitting, key=sum).append(length)
        else:
            rows.append([length])
    return rows
