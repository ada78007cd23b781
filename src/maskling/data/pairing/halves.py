"""Spans split into two halves, for pairings with a sentence objective, and the choice of examples with label 1."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from maskling.arrays import Int64Array, UInt64Array
from maskling.data.plan import Plan, cut_spans
from maskling.data.shards import Split
from maskling.randomness import bits, keys, uniforms


class Boundaries:
    """Sentence and word starts of a split, looked up for many positions at once; the offsets stay on disk.

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
        # Mapped arrays would be pickled as copies; the split opens its files again in the other process.
        return Boundaries, (self._split,)

    def sentences_before(self, position: Int64Array) -> Int64Array:
        """Return how many sentences start before each token. position: (n,) int64. Returns (n,) int64."""
        which = np.clip(np.searchsorted(self._first_token, position, side="left") - 1, 0, len(self._blocks) - 1)
        found = np.zeros(len(position), np.int64)
        for index in np.unique(which):
            here, block = which == index, self._blocks[index]
            local = np.searchsorted(block.sentences[:-1], position[here] - block.first_token, side="left")
            found[here] = block.first_sentence + local
        return found

    def sentence_start(self, sentence: Int64Array) -> Int64Array:
        """Return the first token of each sentence. sentence: (n,) int64. Returns (n,) int64."""
        which = np.searchsorted(self._first_sentence, sentence, side="right") - 1
        start = np.full(len(sentence), self._split.num_tokens)
        for index in np.unique(which[which < len(self._blocks)]):
            here, block = which == index, self._blocks[index]
            start[here] = block.first_token + block.sentences[sentence[here] - block.first_sentence]
        return start

    def last_sentence(self, position: Int64Array) -> Int64Array:
        """Return the last sentence start at or before each token, or the first of all. All (n,) int64."""
        return self.sentence_start(np.maximum(self.sentences_before(position + 1) - 1, 0))

    def next_sentence(self, position: Int64Array) -> Int64Array:
        """Return the first sentence start at or after each token, or the end of the text. All (n,) int64."""
        return self.sentence_start(self.sentences_before(position))

    def word_start(self, begin: Int64Array, end: Int64Array, quantile: NDArray[np.float64]) -> Int64Array:
        """Return one word start of each stretch of tokens [begin, end), -1 if no word starts in it.

        quantile: (n,) float64 in [0, 1], which of them: 0 the first, 1 the last.
        begin, end: (n,) int64. Returns (n,) int64.
        """
        length = np.maximum(end - begin, 0)
        _, starts = self._split.gather(begin, length)
        total = np.append(0, np.cumsum(starts))
        first = np.cumsum(length) - length
        before = total[first]
        count = total[first + length] - before
        # The wanted start is where the running total first reaches `before` + 1 + its index among the `count`.
        wanted = before + np.minimum(1 + (quantile * count).astype(np.int64), count)
        found = np.searchsorted(total[1:], wanted)
        return np.where(count > 0, begin + found - first, -1)


@dataclass(frozen=True, kw_only=True)
class HalvedPlan(Plan):
    """Spans of at least two words, with the sentence and word boundaries of their split."""

    boundaries: Boundaries

    @classmethod
    def of(cls, split: Split, goal: int) -> HalvedPlan:
        """Cut a split into spans; spans of one word cannot be halved and are skipped."""
        plan = cut_spans(split, goal, min_words=2)
        return cls(**{field.name: getattr(plan, field.name) for field in fields(plan)}, boundaries=Boundaries(split))

    def middles(self, index: Int64Array, key: UInt64Array, counter: int) -> Int64Array:
        """Return where spans are split: at a sentence that starts inside, or at a word if there is none.

        All such positions are equally likely. index: (n,) int64; key: (n,) uint64. Returns (n,) int64 token offsets.
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
    """Return which examples get label 1: one of examples 2k and 2k+1, by one random bit per epoch and k. (n,) bool.

    So exactly half of an epoch is disturbed (of an odd number, one half rounded up or down), and
    over the epochs every example occurs with both labels.
    """
    coin = bits(keys(seed, f"{purpose} coin", epoch, index // 2), 0) & np.uint64(1)
    return (coin ^ (index & 1).astype(np.uint64)).astype(bool)
