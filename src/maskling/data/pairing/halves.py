"""A span split in two, and which of its two halves is to be disturbed."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from maskling.arrays import Int64Array, UInt64Array
from maskling.data.plan import Plan, cut_spans
from maskling.data.shards import Split
from maskling.randomness import bits, keys, uniforms

# FOLDED DOCS
# [boundaries] Where sentences and words begin, looked up for many places of a split at once.


class Boundaries:
    """The sentence starts of a split as one ascending list, left on disk, and the word starts near a place.

    Tokens and sentences are counted from the start of the split. Sentence `num_sentences` starts where the text ends.
    """

    def __init__(self, split: Split) -> None:
        self._split = split
        self._blocks = list(split.blocks())
        self._first_token = np.array([block.first_token for block in self._blocks] + [split.num_tokens], np.int64)
        self._first_sentence = np.array(
            [block.first_sentence for block in self._blocks] + [split.num_sentences], np.int64
        )

    def __reduce__(self) -> tuple[type[Boundaries], tuple[Split]]:
        # Mapped arrays would travel to another process as copies; the split opens its files again there.
        return Boundaries, (self._split,)

    def sentences_before(self, place: Int64Array) -> Int64Array:
        """How many sentences start before each token. place: (n,) int64. Returns (n,) int64."""
        which = np.clip(np.searchsorted(self._first_token, place, side="left") - 1, 0, len(self._blocks) - 1)
        found = np.zeros(len(place), np.int64)
        for number in np.unique(which):
            here, block = which == number, self._blocks[number]
            local = np.searchsorted(block.sentences[:-1], place[here] - block.first_token, side="left")
            found[here] = block.first_sentence + local
        return found

    def sentence_start(self, sentence: Int64Array) -> Int64Array:
        """The first token of each sentence. sentence: (n,) int64. Returns (n,) int64."""
        which = np.searchsorted(self._first_sentence, sentence, side="right") - 1
        start = np.full(len(sentence), self._split.num_tokens)
        for number in np.unique(which[which < len(self._blocks)]):
            here, block = which == number, self._blocks[number]
            start[here] = block.first_token + block.sentences[sentence[here] - block.first_sentence]
        return start

    def last_sentence(self, place: Int64Array) -> Int64Array:
        """The last sentence start at or before each token; the first of all for places before the text. (n,) int64."""
        return self.sentence_start(np.maximum(self.sentences_before(place + 1) - 1, 0))

    def next_sentence(self, place: Int64Array) -> Int64Array:
        """The first sentence start at or after each token, or the end of the text. (n,) int64."""
        return self.sentence_start(self.sentences_before(place))

    def word_start(self, begin: Int64Array, end: Int64Array, rank: NDArray[np.float64]) -> Int64Array:
        """One word start of each stretch of tokens [begin, end), -1 where none starts in it.

        rank: (n,) float64 in [0, 1], which one: 0 the first, 1 the last.
        begin, end: (n,) int64. Returns (n,) int64.
        """
        length = np.maximum(end - begin, 0)
        _, starts = self._split.gather(begin, length)
        seen = np.append(0, np.cumsum(starts))
        first = np.cumsum(length) - length
        before = seen[first]
        count = seen[first + length] - before
        # The wanted start is where the running count first reaches `before + 1 + its number`.
        wanted = before + np.minimum(1 + (rank * count).astype(np.int64), count)
        found = np.searchsorted(seen[1:], wanted)
        return np.where(count > 0, begin + found - first, -1)


@dataclass(frozen=True, kw_only=True)
class HalvedPlan(Plan):
    """Spans of at least two words, and where their sentences are."""

    boundaries: Boundaries

    @classmethod
    def of(cls, split: Split, goal: int) -> HalvedPlan:
        """Cut a split; spans of one word cannot be halved and are left out."""
        plan = cut_spans(split, goal, min_words=2)
        return cls(**{field.name: getattr(plan, field.name) for field in fields(plan)}, boundaries=Boundaries(split))

    def middles(self, index: Int64Array, key: UInt64Array, counter: int) -> Int64Array:
        """Where spans are split: at one of the sentences that start inside, else at one of the words.

        Every such place is equally likely. index: (n,) int64; key: (n,) uint64. Returns (n,) int64 token offsets.
        """
        begin = self.start[index]
        end = begin + self.length[index]
        draw = uniforms(key, counter)
        first = self.boundaries.sentences_before(begin + 1)
        count = self.boundaries.sentences_before(end) - first
        middle = self.boundaries.sentence_start(first + (draw * count).astype(np.int64))
        alone = np.flatnonzero(count == 0)
        if alone.size:
            middle[alone] = self.boundaries.word_start(begin[alone] + 1, end[alone], draw[alone])
        return middle


def disturbed(seed: int, purpose: str, epoch: Int64Array, index: Int64Array) -> NDArray[np.bool_]:
    """Which examples get label 1: one of examples 2k and 2k+1, by a coin for each epoch and k. (n,) bool.

    So exactly half of an epoch is disturbed (of an odd number, one half rounded up or down), and
    over the epochs every example is seen both ways.
    """
    coin = bits(keys(seed, f"{purpose} coin", epoch, index // 2), 0) & np.uint64(1)
    return (coin ^ (index & 1).astype(np.uint64)).astype(bool)
