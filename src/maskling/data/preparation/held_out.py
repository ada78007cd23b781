"""Which documents are held out for validation: those whose digest is below a limit.

A digest depends on the text alone, so a document stays on its side when the corpus grows, and equal
texts are always on the same side.
"""

from __future__ import annotations

from collections.abc import Sequence

from maskling.data.preparation.parts import Part


def held_out_below(fraction: float) -> int:
    """The limit that holds out this fraction of all texts, in the long run."""
    return int(fraction * 2**64)


def fitted_limit(fraction: float, parts: Sequence[Part]) -> int:
    """The limit for a whole corpus: moved as little as it takes so that neither side is empty.

    With one document (or none but equal ones) there is nothing to hold out.
    """
    below = held_out_below(fraction)
    if not below or not parts:
        return 0
    smallest = min(part.digests[0] for part in parts)
    largest = max(part.digests[1] for part in parts)
    return min(max(below, smallest + 1), largest)
