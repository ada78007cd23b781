"""Texts found by meaning: those whose vectors point the same way as that of a query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from maskling.errors import SettingsError
from maskling.infer.embed import embed_texts
from maskling.infer.nearest import nearest
from maskling.infer.reader import Reader
from maskling.model.tasks.config import Pooling


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
    reader: Reader, texts: Sequence[str], queries: Sequence[str], *, pooling: Pooling = "mean", top_k: int = 5
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
