"""Train Unigram vocabularies (Kudo 2018, "Subword regularization", section 3.2) deterministically.

The library's own trainer visits words in the order of a randomly seeded hash table, and its sums and ties follow that
order. This trainer sorts first and sums in numpy, in one order.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from maskling.arrays import BoolArray, Int64Array
from maskling.errors import TokenizerError

Floats = NDArray[np.float64]

_MAX_PIECE: Final = 16  # characters
_MAX_RUN: Final = 64  # characters
_SEEDS_PER_PIECE: Final = 4
_KEPT_PER_ROUND: Final = 0.75
_MAX_CHARACTERS: Final = 1_500_000  # of distinct words; the rarest words beyond it are ignored


def unigram_pieces(words: Mapping[str, int], alphabet: set[str], room: int) -> list[tuple[str, float]]:
    """Train at most `room` subwords; return them with their log probabilities, the most likely first.

    words: how often each word occurs; alphabet: the characters to keep, each a piece (others become unknown).
    The seeds are the substrings that cover the most text; rounds of EM and pruning follow, each dropping the quarter
    of the pieces whose loss costs the least likelihood. Raises TokenizerError if the alphabet does not fit.
    """
    if not alphabet or len(alphabet) > room:
        raise TokenizerError(
            f"tokenizer.vocab_size leaves room for {room} subwords but the text has {len(alphabet)} frequent "
            f"characters; give more text, a larger tokenizer.vocab_size or a smaller tokenizer.max_alphabet"
        )
    runs = _known_runs(words, alphabet)
    texts = list(runs)
    counts = np.array([runs[text] for text in texts], dtype=np.float64)
    pieces, weights = _seeds(runs, alphabet, room)
    scores: Floats = np.log(weights) - np.log(weights.sum())
    lattice = Lattice(texts, {piece: index for index, piece in enumerate(pieces)}, allow_whole=True)
    single = np.array([len(piece) == 1 for piece in pieces], dtype=bool)
    while True:
        for _ in range(2):
            used = lattice.expected_counts(scores, counts)
            # The expectation under a sparse Dirichlet prior: exp(digamma(x)) is about x - 1/2.
            shrunk = np.maximum(used - 0.5, 1e-3)
            scores = np.log(shrunk) - np.log(shrunk.sum())
        if len(pieces) <= room:
            break
        size = max(room, int(len(pieces) * _KEPT_PER_ROUND))
        kept = _kept_pieces(pieces, single, used, scores, size)
        lattice.keep(kept)
        pieces = [piece for piece, stays in zip(pieces, kept, strict=True) if stays]
        single, scores = single[kept], scores[kept]
    # Six decimals: the last bits of a logarithm differ between processors, and the file must not.
    rounded = [(piece, round(float(score), 6)) for piece, score in zip(pieces, scores, strict=True)]
    return sorted(rounded, key=lambda item: (-item[1], item[0]))


def _known_runs(words: Mapping[str, int], alphabet: set[str]) -> dict[str, int]:
    """Return the runs of known characters in words with their counts, sorted; runs of over _MAX_RUN are cut."""
    runs: Counter[str] = Counter()
    for word, count in words.items():
        known = "".join(character if character in alphabet else "\0" for character in word)
        for run in known.split("\0"):
            for first in range(0, len(run), _MAX_RUN):
                runs[run[first : first + _MAX_RUN]] += count
    kept: dict[str, int] = {}
    size = 0
    for run, count in sorted(runs.items(), key=lambda item: (-item[1], item[0])):
        size += len(run)
        if size > _MAX_CHARACTERS and kept:
            break
        kept[run] = count
    return dict(sorted(kept.items()))


def _seeds(runs: Mapping[str, int], alphabet: set[str], room: int) -> tuple[list[str], Floats]:
    """Return the seed pieces and their weights (count times length): every character, then the heaviest substrings."""
    counts: Counter[str] = Counter()
    for run, count in runs.items():
        for start in range(len(run)):
            for stop in range(start + 1, min(start + _MAX_PIECE, len(run)) + 1):
                counts[run[start:stop]] += count
    longer = [(piece, count) for piece, count in counts.items() if len(piece) > 1 and count > 1]
    longer.sort(key=lambda item: (-item[1] * len(item[0]), item[0]))
    chosen = longer[: room * _SEEDS_PER_PIECE]
    pieces = [*sorted(alphabet), *(piece for piece, _ in chosen)]
    weights = np.array([max(counts[piece], 1) * len(piece) for piece in pieces], dtype=np.float64)
    return pieces, weights


def _kept_pieces(pieces: list[str], single: BoolArray, used: Floats, scores: Floats, size: int) -> BoolArray:
    """Return which `size` pieces to keep: all characters, then those whose removal would cost the most likelihood."""
    index_of = {piece: index for index, piece in enumerate(pieces)}
    replacement = Lattice(pieces, index_of, allow_whole=False).best_scores(scores)
    loss = np.round(used * (scores - replacement), 6)
    loss[single] = np.inf
    order = sorted(range(len(pieces)), key=lambda index: (-loss[index], pieces[index]))
    kept = np.zeros(len(pieces), dtype=bool)
    kept[order[:size]] = True
    return kept


class Lattice:
    """All segmentations of many words into pieces, as one graph; sums and maxima run over all words at once.

    An edge is an occurrence of a piece in a word. The nodes of word w, of n characters, are firsts[w] to
    firsts[w] + n; some edge reaches every node but the first.
    """

    def __init__(self, words: Sequence[str], pieces: Mapping[str, int], allow_whole: bool) -> None:
        """Build the graph. pieces: index of each; allow_whole: a piece of several characters may be a whole word."""
        begin: list[int] = []
        end: list[int] = []
        piece: list[int] = []
        firsts = np.zeros(len(words) + 1, dtype=np.int64)
        node = 0
        for index, word in enumerate(words):
            size = len(word)
            for stop in range(1, size + 1):
                for start in range(max(0, stop - _MAX_PIECE), stop):
                    found = pieces.get(word[start:stop])
                    if found is not None and (allow_whole or size == 1 or stop - start < size):
                        begin.append(node + start)
                        end.append(node + stop)
                        piece.append(found)
            node += size + 1
            firsts[index + 1] = node
        self.firsts, self.lasts = firsts[:-1], firsts[1:] - 1
        self._begin, self._end = np.array(begin, dtype=np.int64), np.array(end, dtype=np.int64)
        self._piece = np.array(piece, dtype=np.int64)
        self._num_nodes = node
        # Characters before and after each node in its word.
        self._before = np.arange(node) - np.repeat(self.firsts, np.diff(firsts))
        self._after = np.repeat(self.lasts, np.diff(firsts)) - np.arange(node)

    def keep(self, kept: BoolArray) -> None:
        """Remove the edges of the other pieces, and renumber the kept ones. kept: (pieces,) bool."""
        edges = kept[self._piece]
        self._begin, self._end = self._begin[edges], self._end[edges]
        self._piece = (np.cumsum(kept) - 1)[self._piece[edges]]

    def best_scores(self, scores: Floats) -> Floats:
        """Return the score of the best segmentation of each word, (words,). scores: (pieces,) log probabilities."""
        best: Floats = self._sweep(scores, np.maximum, self._begin, self._end, self._before, self.firsts)[self.lasts]
        return best

    def expected_counts(self, scores: Floats, counts: Floats) -> Floats:
        """Return how often each piece is used, in expectation over all segmentations, (pieces,).

        scores: (pieces,) log probabilities; counts: (words,) how often each word occurs.
        """
        forward = self._sweep(scores, np.logaddexp, self._begin, self._end, self._before, self.firsts)
        backward = self._sweep(scores, np.logaddexp, self._end, self._begin, self._after, self.lasts)
        word = np.repeat(np.arange(len(counts)), self.lasts - self.firsts + 1)[self._begin]
        through = forward[self._begin] + scores[self._piece] + backward[self._end] - forward[self.lasts][word]
        used = np.bincount(self._piece, weights=np.exp(through) * counts[word], minlength=len(scores))
        return used.astype(np.float64)

    def _sweep(
        self,
        scores: Floats,
        combine: np.ufunc,
        source: Int64Array,
        target: Int64Array,
        depth: Int64Array,
        origins: Int64Array,
    ) -> Floats:
        """Propagate values along the edges from `origins`, one character further at a time, for all words together.

        Returns (nodes,). source, target: (edges,) nodes; depth: (nodes,) characters from the origin of the word.
        """
        values = np.full(self._num_nodes, -np.inf)
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
