"""Tokens of several texts in one block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Encoded:
    """The tokens of several texts end to end.

    ids: (tokens,) int32; word_starts: (tokens,) bool; offsets: (texts + 1,) int64, where each text's tokens start.
    """

    ids: NDArray[np.int32]
    word_starts: NDArray[np.bool_]
    offsets: NDArray[np.int64]


def join(parts: Sequence[Encoded]) -> Encoded:
    """The texts of all parts, one part after the other."""
    ends = np.cumsum([0, *(len(part.ids) for part in parts)])
    offsets = [part.offsets[:-1] + end for part, end in zip(parts, ends, strict=False)]
    return Encoded(
        np.concatenate([part.ids for part in parts]),
        np.concatenate([part.word_starts for part in parts]),
        np.concatenate([*offsets, ends[-1:]]),
    )


def interleave(first: Encoded, second: Encoded, from_second: Sequence[bool]) -> Encoded:
    """Texts of two blocks in one order: the next of `second` where `from_second` says so, else the next of `first`."""
    chosen = np.array(from_second, dtype=bool)
    lengths = np.empty(len(chosen), dtype=np.int64)
    lengths[~chosen], lengths[chosen] = np.diff(first.offsets), np.diff(second.offsets)
    begins = np.empty(len(chosen), dtype=np.int64)
    begins[~chosen], begins[chosen] = first.offsets[:-1], second.offsets[:-1] + len(first.ids)
    offsets = np.zeros(len(chosen) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    source = np.repeat(begins - offsets[:-1], lengths) + np.arange(offsets[-1])
    ids = np.concatenate([first.ids, second.ids])[source]
    return Encoded(ids, np.concatenate([first.word_starts, second.word_starts])[source], offsets)
