"""All the ways to spell many words with a set of pieces, as arrays; summed or maximised over at once."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Lattice:
    """One edge for each place where a piece fits into a word; every node of a word is reached by some edge.

    The nodes of word w, of n characters, are firsts[w] to firsts[w] + n.
    """

    def __init__(self, words: Sequence[str], pieces: Mapping[str, int], longest: int, itself: bool) -> None:
        """itself: whether a piece of more than one character may spell the word that equals it."""
        begin: list[int] = []
        end: list[int] = []
        piece: list[int] = []
        depth: list[int] = []
        firsts = np.zeros(len(words) + 1, dtype=np.int64)
        node = 0
        for number, word in enumerate(words):
            size = len(word)
            for stop in range(1, size + 1):
                for start in range(max(0, stop - longest), stop):
                    found = pieces.get(word[start:stop])
                    if found is not None and (itself or size == 1 or stop - start < size):
                        begin.append(node + start)
                        end.append(node + stop)
                        piece.append(found)
                        depth.append(stop)
            node += size + 1
            firsts[number + 1] = node
        self.firsts, self.lasts = firsts[:-1], firsts[1:] - 1
        self._begin, self._end = np.array(begin, dtype=np.int64), np.array(end, dtype=np.int64)
        self._piece = np.array(piece, dtype=np.int64)
        self._nodes = node
        place = np.arange(node) - np.repeat(self.firsts, np.diff(firsts))
        rest = np.repeat(self.lasts, np.diff(firsts)) - np.arange(node)
        self._place, self._rest = place, rest

    def keep(self, kept: NDArray[np.bool_], renumbered: NDArray[np.int64]) -> None:
        """Drop the edges of pieces that are gone. kept: (pieces,) bool; renumbered: (pieces,) new numbers."""
        edges = kept[self._piece]
        self._begin, self._end = self._begin[edges], self._end[edges]
        self._piece = renumbered[self._piece[edges]]

    def best(self, scores: Floats) -> Floats:
        """The score of the best spelling of each word. scores: (pieces,) logarithms. Returns (words,)."""
        reached: Floats = self._sweep(scores, np.maximum, self._begin, self._end, self._place, self.firsts)[self.lasts]
        return reached

    def expected(self, scores: Floats, counts: Floats) -> Floats:
        """How often each piece is used, on average over all spellings.

        scores: (pieces,) logarithms of their probabilities; counts: (words,) how often each word occurs.
        Returns (pieces,).
        """
        forward = self._sweep(scores, np.logaddexp, self._begin, self._end, self._place, self.firsts)
        backward = self._sweep(scores, np.logaddexp, self._end, self._begin, self._rest, self.lasts)
        word = np.repeat(np.arange(len(counts)), self.lasts - self.firsts + 1)[self._begin]
        through = forward[self._begin] + scores[self._piece] + backward[self._end] - forward[self.lasts][word]
        used = np.bincount(self._piece, weights=np.exp(through) * counts[word], minlength=len(scores))
        return used.astype(np.float64)

    def _sweep(
        self,
        scores: Floats,
        combine: np.ufunc,
        source: NDArray[np.int64],
        target: NDArray[np.int64],
        depth: NDArray[np.int64],
        origins: NDArray[np.int64],
    ) -> Floats:
        """Carry values along the edges, all words together, one character further at a time."""
        values = np.full(self._nodes, -np.inf)
        values[origins] = 0.0
        order = np.lexsort((target, depth[target]))
        source, target, weight = source[order], target[order], scores[self._piece[order]]
        levels = np.searchsorted(depth[target], np.arange(1, int(depth.max(initial=0)) + 2))
        for first, end in itertools.pairwise(levels):
            here = target[first:end]
            if len(here):
                groups = np.flatnonzero(np.r_[True, here[1:] != here[:-1]])
                values[here[groups]] = combine.reduceat(values[source[first:end]] + weight[first:end], groups)
        return values
