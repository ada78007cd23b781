"""Grouping of a stream of items by count and size, to process many at once in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

_T = TypeVar("_T")


def grouped(
    items: Iterable[_T], size_of: Callable[[_T], int], max_size: int, max_count: int | None = None
) -> Iterator[list[_T]]:
    """Yield lists of consecutive items, in order.

    A list ends with the item that brings the sum of its sizes to `max_size` or more, or with its `max_count`-th item.
    An item is taken from the stream only when it is needed. Concatenated, the lists hold every item once.
    """
    group: list[_T] = []
    size = 0
    for item in items:
        group.append(item)
        size += size_of(item)
        if size >= max_size or len(group) == max_count:
            yield group
            group, size = [], 0
    if group:
        yield group
