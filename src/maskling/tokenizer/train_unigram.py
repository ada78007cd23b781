"""Unigram vocabularies (Kudo 2018, "Subword regularization", section 3.2), trained the same way every time.

The library's own trainer visits words in the order of a randomly seeded hash table, and sums and ties follow
that order. This one sorts first and sums in numpy, in one order.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from maskling.errors import TokenizerError

# FOLDED DOCS
# [lattice] All the ways to spell many words with a set of pieces, as arrays; summed or maximised over at once.


_LONGEST_PIECE: Final = 16
_LONGEST_RUN: Final = 64
_SEEDS_A_PIECE: Final = 4
_KEPT_A_ROUND: Final = 0.75
_MOST_CHARACTERS: Final = 1_500_000  # of distinct words; the rarest words beyond it have no say


def unigram_pieces(words: Mapping[str, int], alphabet: set[str], room: int) -> list[tuple[str, float]]:
    """At most `room` pieces with the logarithms of their probabilities, the likeliest first.

    words: how often each occurs; alphabet: the characters to keep, each a piece (others become unknown).
    Seeds are the substrings that cover most text; rounds of EM and pruning follow, each dropping the
    quarter whose loss costs the likelihood least.
    """
    if not alphabet or len(alphabet) > room:
        raise TokenizerError(
            f"tokenizer.vocab_size leaves room for {room} pieces but the text has {len(alphabet)} frequent characters; "
            f"give more text, a larger tokenizer.vocab_size or a smaller tokenizer.max_alphabet"
        )
    runs = _runs(words, alphabet)
    texts = list(runs)
    counts = np.array([runs[text] for text in texts], dtype=np.float64)
    pieces, weights = _seeds(runs, alphabet, room)
    scores: Floats = np.log(weights) - np.log(weights.sum())
    numbers = {piece: number for number, piece in enumerate(pieces)}
    text = Lattice(texts, numbers, _LONGEST_PIECE, itself=True)
    single = np.array([len(piece) == 1 for piece in pieces], dtype=bool)
    while True:
        for _ in range(2):
            used = text.expected(scores, counts)
            # The expectation under a sparse Dirichlet prior: exp(digamma(x)) is about x - 1/2.
            shrunk = np.maximum(used - 0.5, 1e-3)
            scores = np.log(shrunk) - np.log(shrunk.sum())
        if len(pieces) <= room:
            break
        size = max(room, int(len(pieces) * _KEPT_A_ROUND))
        kept = _keep(pieces, single, used, scores, size)
        renumbered = np.cumsum(kept) - 1
        text.keep(kept, renumbered)
        pieces = [piece for piece, stays in zip(pieces, kept, strict=True) if stays]
        single, scores = single[kept], scores[kept]
    # Six decimals: the last bits of a logarithm differ between processors, and the file must not.
    rounded = [(piece, round(float(score), 6)) for piece, score in zip(pieces, scores, strict=True)]
    return sorted(rounded, key=lambda item: (-item[1], item[0]))


def _runs(words: Mapping[str, int], alphabet: set[str]) -> dict[str, int]:
    """The parts of words that have only known characters, in sorted order; long ones cut."""
    runs: Counter[str] = Counter()
    for word, count in words.items():
        known = "".join(character if character in alphabet else "\0" for character in word)
        for run in known.split("\0"):
            for first in range(0, len(run), _LONGEST_RUN):
                runs[run[first : first + _LONGEST_RUN]] += count
    kept: dict[str, int] = {}
    size = 0
    for run, count in sorted(runs.items(), key=lambda item: (-item[1], item[0])):
        size += len(run)
        if size > _MOST_CHARACTERS and kept:
            break
        kept[run] = count
    return dict(sorted(kept.items()))


def _seeds(runs: Mapping[str, int], alphabet: set[str], room: int) -> tuple[list[str], Floats]:
    """Every character, and the substrings with the largest product of count and length."""
    found: Counter[str] = Counter()
    for run, count in runs.items():
        for start in range(len(run)):
            for stop in range(start + 1, min(start + _LONGEST_PIECE, len(run)) + 1):
                found[run[start:stop]] += count
    longer = [(piece, count) for piece, count in found.items() if len(piece) > 1 and count > 1]
    longer.sort(key=lambda item: (-item[1] * len(item[0]), item[0]))
    chosen = longer[: room * _SEEDS_A_PIECE]
    pieces = [*sorted(alphabet), *(piece for piece, _ in chosen)]
    weights = np.array([max(found[piece], 1) * len(piece) for piece in pieces], dtype=np.float64)
    return pieces, weights


def _keep(pieces: list[str], single: NDArray[np.bool_], used: Floats, scores: Floats, size: int) -> NDArray[np.bool_]:
    """The `size` pieces to keep: all characters, then those whose best replacement would cost most likelihood."""
    numbers = {piece: number for number, piece in enumerate(pieces)}
    instead = Lattice(pieces, numbers, _LONGEST_PIECE, itself=False).best(scores)
    loss = np.round(used * (scores - instead), 6)
    loss[single] = np.inf
    order = sorted(range(len(pieces)), key=lambda number: (-loss[number], pieces[number]))
    kept = np.zeros(len(pieces), dtype=bool)
    kept[order[:size]] = True
    return kept


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
