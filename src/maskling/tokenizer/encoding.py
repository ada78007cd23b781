"""Tokens of several texts in one block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskling.arrays import offsets_of
from maskling.tokenizer import characters

# FOLDED DOCS
# [offsets] Which characters of a text each of its tokens stands for.


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
    ends = offsets_of([len(part.ids) for part in parts])
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
    offsets = offsets_of(lengths)
    source = np.repeat(begins - offsets[:-1], lengths) + np.arange(offsets[-1])
    ids = np.concatenate([first.ids, second.ids])[source]
    return Encoded(ids, np.concatenate([first.word_starts, second.word_starts])[source], offsets)


@dataclass(frozen=True, slots=True)
class Located:
    """A text as tokens. ids: (n,) int32; begins, ends: (n,) int32, its characters begins to ends - 1, no white space.

    The pieces of one character share it; a token of white space alone has begins == ends.
    """

    ids: NDArray[np.int32]
    begins: NDArray[np.int32]
    ends: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.ids)


def located(texts: Sequence[str], encodings: Sequence[Any]) -> list[Located]:
    """Encodings of the library, without special tokens, as arrays."""
    found = []
    for text, encoding in zip(texts, encodings, strict=True):
        spans = np.array(encoding.offsets, np.int32).reshape(-1, 2)
        # Byte-level and Unigram tokens bring the space before them; an answer should not.
        black = np.flatnonzero(characters.kinds(text) != characters.SPACE)
        first, last = np.searchsorted(black, spans[:, 0]), np.searchsorted(black, spans[:, 1])
        some = first < last
        begins, ends = spans[:, 0].copy(), spans[:, 0].copy()
        begins[some] = black[first[some]]
        ends[some] = black[last[some] - 1] + 1
        found.append(Located(np.array(encoding.ids, np.int32), begins, ends))
    return found
