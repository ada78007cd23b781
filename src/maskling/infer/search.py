"""Semantic search: rank texts by the cosine of their vectors with that of a query."""

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

Vectors = NDArray[np.float32]

# Vectors, and queries, that are compared at once.
_ROWS: Final = 8192
_QUERIES: Final = 256


@dataclass(frozen=True)
class Hit:
    """A search result. id: the source of the text, as "notes.txt:17"; score: the cosine with the query."""

    id: str
    text: str
    score: float

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self)


def search_texts(
    runner: ModelRunner, texts: Sequence[str], queries: Sequence[str], *, pooling: Pooling = "mean", top_k: int = 5
) -> list[list[Hit]]:
    """Return the texts nearest to each query, the nearest first; their ids are their indices in `texts`.

    For many texts, or texts that are searched more than once, use `Index`. Raises SettingsError for a `top_k` below 1.
    """
    if top_k < 1:
        raise SettingsError(f"top_k is {top_k}; it must be 1 or more")
    text_vectors, query_vectors = (
        embed_texts(runner, some, pooling=pooling, normalize=True).vectors for some in (texts, queries)
    )
    indices, scores = nearest(query_vectors, [text_vectors], top_k)
    return [
        [Hit(str(index), texts[index], score) for index, score in zip(row, found, strict=True)]
        for row, found in zip(indices.tolist(), scores.tolist(), strict=True)
    ]


def nearest(queries: Vectors, blocks: Iterable[Vectors], top_k: int) -> tuple[NDArray[np.int64], Vectors]:
    """Find the vectors with the largest dot products with each query; cosines if all vectors have length 1.

    queries: (queries, hidden) float32; blocks: each (n, hidden) float32, rows numbered consecutively over all blocks.
    Returns (queries, k) int64 indices and (queries, k) float32 products, the largest first and of equal ones the first;
    k is `top_k`, or the number of vectors if that is less.
    """
    scores = np.zeros((len(queries), 0), dtype=np.float32)
    indices = np.zeros((len(queries), 0), dtype=np.int64)
    first = 0
    for block in blocks:
        for start in range(0, len(block), _ROWS):
            rows = np.asarray(block[start : start + _ROWS])
            merged = [_merge(scores[at], indices[at], queries[at] @ rows.T, first, top_k) for at in _slices(queries)]
            if merged:
                scores = np.concatenate([found for found, _ in merged])
                indices = np.concatenate([found for _, found in merged])
            first += len(rows)
    return indices, scores


def _slices(queries: Vectors) -> list[slice]:
    return [slice(start, start + _QUERIES) for start in range(0, len(queries), _QUERIES)]


def _merge(
    scores: Vectors, indices: NDArray[np.int64], products: Vectors, first: int, top_k: int
) -> tuple[Vectors, NDArray[np.int64]]:
    """Merge the best results so far with the products of the rows from `first` on."""
    new = np.broadcast_to(np.arange(first, first + products.shape[1]), products.shape)
    scores, indices = np.concatenate([scores, products], axis=1), np.concatenate([indices, new], axis=1)
    # A stable sort keeps the first of equals in front, and the results so far have the lower indices.
    order = np.argsort(-scores, axis=1, kind="stable")[:, :top_k]
    return np.take_along_axis(scores, order, axis=1), np.take_along_axis(indices, order, axis=1)
