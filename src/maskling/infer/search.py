"""Texts found by meaning: those whose vectors point the same way as that of a query."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from maskling.errors import SettingsError
from maskling.infer.embed import embed_texts
from maskling.infer.forward import ModelRunner
from maskling.model.tasks.config import Pooling

# FOLDED DOCS
# [nearest] The vectors nearest to others, out of more than fit in memory at once.


@dataclass(frozen=True)
class Hit:
    """A text that was found. id: where it is from, as "notes.txt:17"; score: the cosine with the query."""

    id: str
    text: str
    score: float

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


def search_texts(
    reader: ModelRunner, texts: Sequence[str], queries: Sequence[str], *, pooling: Pooling = "mean", top_k: int = 5
) -> list[list[Hit]]:
    """The texts nearest to each query, the nearest first; their ids are their numbers in `texts`, from 0.

    For texts that are to be searched more than once, or that are many, there is `Index`. Raises SettingsError for a
    `top_k` that is none.
    """
    if top_k < 1:
        raise SettingsError(f"top_k is {top_k}; ask for 1 text or more")
    there, asked = (embed_texts(reader, some, pooling=pooling, normalize=True).vectors for some in (texts, queries))
    numbers, scores = nearest(asked, [there], top_k)
    return [
        [Hit(str(number), texts[number], score) for number, score in zip(row, found, strict=True)]
        for row, found in zip(numbers.tolist(), scores.tolist(), strict=True)
    ]


Vectors = NDArray[np.float32]

_ROWS: Final = 8192  # vectors that are compared at once
_QUERIES: Final = 256


def nearest(queries: Vectors, blocks: Iterable[Vectors], top_k: int) -> tuple[NDArray[np.int64], Vectors]:
    """The vectors with the largest products with each query; cosines, where all have length 1.

    queries: (queries, hidden); blocks: each (n, hidden), one after the other, so that their rows are numbered through.
    Returns (queries, k) numbers and (queries, k) products, the largest first and of equal ones the first; k is `top_k`,
    or how many vectors there are.
    """
    scores = np.zeros((len(queries), 0), dtype=np.float32)
    numbers = np.zeros((len(queries), 0), dtype=np.int64)
    first = 0
    for block in blocks:
        for start in range(0, len(block), _ROWS):
            rows = np.asarray(block[start : start + _ROWS])
            merged = [_merge(scores[at], numbers[at], queries[at] @ rows.T, first, top_k) for at in _slices(queries)]
            if merged:
                scores = np.concatenate([found for found, _ in merged])
                numbers = np.concatenate([found for _, found in merged])
            first += len(rows)
    return numbers, scores


def _slices(queries: Vectors) -> list[slice]:
    return [slice(start, start + _QUERIES) for start in range(0, len(queries), _QUERIES)]


def _merge(
    scores: Vectors, numbers: NDArray[np.int64], products: Vectors, first: int, top_k: int
) -> tuple[Vectors, NDArray[np.int64]]:
    """The best of what was found so far and of the products with the rows from `first` on."""
    new = np.broadcast_to(np.arange(first, first + products.shape[1]), products.shape)
    scores, numbers = np.concatenate([scores, products], axis=1), np.concatenate([numbers, new], axis=1)
    # A stable sort leaves the first of equals in front, and what was found so far has the lower numbers.
    order = np.argsort(-scores, axis=1, kind="stable")[:, :top_k]
    return np.take_along_axis(scores, order, axis=1), np.take_along_axis(numbers, order, axis=1)
