"""Losses over pairs of vectors, one number at a time, as their papers write them."""

from __future__ import annotations

import math
from collections.abc import Sequence


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    dot = sum(a * b for a, b in zip(one, other, strict=True))
    return dot / math.sqrt(sum(a * a for a in one)) / math.sqrt(sum(b * b for b in other))


def info_nce(anchors, candidates, temperature: float, excluded=frozenset()) -> float:
    """-log of the share of the right candidate, its number that of the anchor; excluded: (anchor, candidate) pairs."""
    losses = []
    for number, anchor in enumerate(anchors):
        all_of_them = {
            place: math.exp(cosine(anchor, candidate) / temperature)
            for place, candidate in enumerate(candidates)
            if (number, place) not in excluded
        }
        losses.append(-math.log(all_of_them[number] / sum(all_of_them.values())))
    return sum(losses) / len(losses)


def cosent(one, other, scores, temperature: float) -> float:
    """Su 2022: log(1 + sum over pairs i above j of exp((cos j - cos i) / temperature))."""
    cosines = [cosine(a, b) / temperature for a, b in zip(one, other, strict=True)]
    total = 1.0
    for i, high in enumerate(scores):
        for j, low in enumerate(scores):
            if high > low:
                total += math.exp(cosines[j] - cosines[i])
    return math.log(total)
