"""Which characters of a text each of its tokens stands for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskling.tokenizer import characters


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
