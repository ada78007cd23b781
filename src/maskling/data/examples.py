"""Every example of a run, by number."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from maskling.data.batch import Batch
from maskling.data.corruption import Corruption, Vocabulary
from maskling.data.masking.strategy import Masking
from maskling.data.masking.words import BoolArray, Int64Array, Words
from maskling.data.packing import Layout, Packing
from maskling.data.pairing.strategy import Pairing, Segments
from maskling.data.shards import Split
from maskling.data.step import Step
from maskling.data.text import Text, assemble, lengths
from maskling.randomness import Shuffle, keys

# Tokens that are assembled and masked at once: enough to make numpy's calls cheap, few enough to stay in the cache.
CHUNK_TOKENS = 1 << 14
# Tokens of validation that are packed together, whatever the size of a batch.
FIXED_TOKENS = 1 << 16


@dataclass(frozen=True)
class Example:
    """One example, for a person to look at.

    epoch, index: which; ids, seen: (n,) int32, its tokens as they are and as the model sees them; chosen: (n,) bool;
    words: (n,) int64, the word of each, -1 for special tokens; token_types: (n,) int64; label: -1 without a pair.
    """

    epoch: int
    index: int
    ids: NDArray[np.int32]
    seen: NDArray[np.int32]
    chosen: BoolArray
    words: Int64Array
    token_types: Int64Array
    label: int


class Examples:
    """The examples of a split in all epochs, one after the other without end.

    Example number g is place g % N of the random order of epoch g // N. What it is, its masks
    included, is a function of the seed, its epoch and its index in the plan; so a step, which is a
    range of numbers, is a function of the seed and the number of the step.
    """

    def __init__(
        self,
        split: Split,
        vocabulary: Vocabulary,
        pairing: Pairing,
        masking: Masking,
        corruption: Corruption,
        packing: Packing,
        seq_length: int,
        seed: int,
    ) -> None:
        """Plan the epochs. Raises DataError where the split cannot give examples of this kind."""
        self.seq_length = seq_length
        self.plan = pairing.plan(split, seq_length)
        self._split, self._vocabulary, self._seed = split, vocabulary, seed
        self._pairing, self._masking, self._corruption, self._packing = pairing, masking, corruption, packing

    @property
    def num_examples(self) -> int:
        """Examples of an epoch."""
        return len(self.plan)

    @property
    def mean_length(self) -> float:
        """Tokens of an example on average, special ones counted."""
        return self.plan.mean_length + self._pairing.num_special

    def examples_per_step(self, batch_size: int) -> int:
        """How many examples fill `batch_size` rows on average: a sequence of `seq_length` tokens is what a row is.

        Measured on a sample that no seed changes, so that runs with other seeds take as many.
        """
        guess = max(1, round(batch_size * self.seq_length / self.mean_length))
        trials = max(1, min(16, (1 << 16) // guess))
        index = Shuffle(self.num_examples, 0, "sample")[np.arange(guess * trials) % self.num_examples]
        segments = self._pairing.segments(self.plan, np.zeros(len(index), np.int64), index, 0)
        length = lengths(segments, self._pairing.has_pairs).reshape(trials, guess)
        rows = sum(self._packing.pack(some, self.seq_length).num_rows for some in length)
        return max(1, round(guess * batch_size * trials / rows))

    def step(self, step: int, batch_size: int, rate: float) -> Step:
        """The examples of optimizer step `step`, counted from 0, with that fraction of tokens to predict."""
        count = self.examples_per_step(batch_size)
        return self.take(step * count, count, rate)

    def take(self, first: int, count: int, rate: float) -> Step:
        """Examples number first to first + count - 1, in rows."""
        return self._step(*self._which(np.arange(first, first + count), self._seed), rate, self._seed)

    def fixed(self, count: int | None, rate: float, micro_rows: int) -> Iterator[Batch]:
        """The first `count` examples of one epoch (all, if None), the same whatever the seed and the batch size.

        For validation: examples are packed and masked in the same way each time, so that numbers of
        any two models or moments compare.
        """
        total = self.num_examples if count is None else min(count, self.num_examples)
        group = max(1, int(FIXED_TOKENS / self.mean_length))
        for first in range(0, total, group):
            epoch, index = self._which(np.arange(first, min(first + group, total)), 0)
            yield from self._step(epoch, index, rate, 0).batches(micro_rows)

    def example(self, number: int, rate: float) -> Example:
        """Example `number`, as `take` would put it in a row."""
        epoch, index = self._which(np.array([number]), self._seed)
        segments = self._pairing.segments(self.plan, epoch, index, self._seed)
        text, words = self._masked(segments, epoch, index, rate, self._seed)
        return Example(
            epoch=int(epoch[0]),
            index=int(index[0]),
            ids=text.ids,
            seen=text.seen,
            chosen=text.chosen,
            words=words.word,
            token_types=(words.position >= text.second[0]).astype(np.int64),
            label=int(segments.label[0]),
        )

    def _which(self, number: Int64Array, seed: int) -> tuple[Int64Array, Int64Array]:
        """The epoch and the index in the plan of examples by number. All (n,) int64."""
        epoch, place = np.divmod(number, self.num_examples)
        index = np.empty_like(place)
        for one in np.unique(epoch):
            here = epoch == one
            index[here] = Shuffle(self.num_examples, seed, "order", one)[place[here]]
        return epoch, index

    def _step(self, epoch: Int64Array, index: Int64Array, rate: float, seed: int) -> Step:
        segments = self._pairing.segments(self.plan, epoch, index, seed)
        length = lengths(segments, self._pairing.has_pairs)
        layout = self._packing.pack(length, self.seq_length)
        order = np.lexsort((layout.column, layout.row))
        segments, epoch, index = segments[order], epoch[order], index[order]
        chunk = np.cumsum(length[order]) // CHUNK_TOKENS
        bounds = [0, *(np.flatnonzero(np.diff(chunk)) + 1).tolist(), len(order)]
        parts = [
            self._masked(segments[first:last], epoch[first:last], index[first:last], rate, seed)[0]
            for first, last in pairwise(bounds)
        ]
        rows = Layout(layout.row[order], layout.column[order], layout.num_rows)
        return Step(Text.join(parts), rows, self.seq_length, self._vocabulary.pad)

    def _masked(
        self, segments: Segments, epoch: Int64Array, index: Int64Array, rate: float, seed: int
    ) -> tuple[Text, Words]:
        """Examples with their masks. epoch, index: (k,) int64."""
        has_pairs = self._pairing.has_pairs
        ids, words = assemble(self._split, segments, self._vocabulary, has_pairs, self._masking.predicts_unknown)
        chosen = self._masking.select(words, rate, keys(seed, "mask", epoch, index))
        seen = self._corruption.corrupt(ids, chosen, words, keys(seed, "corrupt", epoch, index), self._vocabulary)
        length = lengths(segments, has_pairs)
        second = segments.a_length + 2
        return Text(ids, seen, chosen, length, second, segments.label if has_pairs else length[:0]), words
