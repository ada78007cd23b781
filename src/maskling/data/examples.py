"""Every example of a run, by number."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from maskling.arrays import BoolArray, Int64Array
from maskling.data.assemble import Batch, Text, assemble, lay_out, lengths
from maskling.data.masking.corruption import Corruption, MaskingVocabulary
from maskling.data.masking.strategy import Masking
from maskling.data.masking.words import Words
from maskling.data.packing import Layout, Packing, dealt, spread
from maskling.data.pairing.strategy import Pairing, Segments
from maskling.data.shards import Split
from maskling.randomness import Shuffle, keys

# FOLDED DOCS
# [rows] Examples placed in rows, before any of their text is read.
# [step] The examples of one optimizer step, to be shared out over ranks and micro-batches.


# Tokens that are assembled and masked at once: enough to make numpy's calls cheap, few enough to stay in the cache.
CHUNK_TOKENS = 1 << 15
# Rows that are packed together and then dealt to steps: many fill better, and come out at a number known beforehand.
GROUP_ROWS = 2048
# Epochs that a group may mix, where the text is short.
GROUP_EPOCHS = 4
# Examples that are packed, at most, to learn how many fill a group.
SAMPLE = 1 << 18
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
    included, is a function of the seed, its epoch and its index in the plan. A group of steps takes a
    range of numbers, packs them together, and deals the rows to its steps in random order; so a
    step is a function of the seed and the number of the step.
    """

    def __init__(
        self,
        split: Split,
        vocabulary: MaskingVocabulary,
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
        self._latest: tuple[tuple[int, int], Rows] | None = None
        self._block: tuple[tuple[int, int, int, float], Text] | None = None
        self._rate: float | None = None
        self._group_sizes: dict[int, int] = {}
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
        """How many examples a step takes on average."""
        steps = self._steps_of_group(batch_size)
        return max(1, round(self._examples_of_group(batch_size) / steps))

    def step(self, step: int, batch_size: int, rate: float) -> Step:
        """The examples of optimizer step `step`, counted from 0, with that fraction of tokens to predict.

        `batch_size` counts sequences of `seq_length` tokens: that many rows, one more in rare cases,
        one less only where there are fewer examples than rows.
        """
        steps = self._steps_of_group(batch_size)
        number, place = divmod(step, steps)
        group = self._group(number, batch_size)

        def row(place: int) -> int:
            return group.layout.num_rows * place // steps

        rows = group.part(row(place), row(place + 1))
        # Small steps are masked several at a time, once the rate has come to stay.
        several = CHUNK_TOKENS // (batch_size * self.seq_length)
        stays, self._rate = rate == self._rate, rate
        if several < 2 or not stays:
            return self._step(rows, rate, self._seed)
        first = place // several * several
        wanted = (number, batch_size, first, rate)
        if self._block is None or self._block[0] != wanted:
            together = group.part(row(first), row(min(first + several, steps)))
            self._block = (wanted, self._masked(together, rate, self._seed)[0])
        before, begin = np.searchsorted(group.layout.row, (row(first), row(place))).tolist()
        text = self._block[1].part(begin - before, begin - before + len(rows.number))
        return Step(text, rows.layout, rows.number, self.seq_length, self._vocabulary.pad)

    def take(self, first: int, count: int, rate: float) -> Step:
        """Examples number first to first + count - 1, in rows."""
        rows = self._unplaced(np.arange(first, first + count), self._seed)
        return self._step(rows.packed(self._packing, self.seq_length), rate, self._seed)

    def fixed(self, count: int | None, rate: float, micro_rows: int) -> Iterator[Batch]:
        """The first `count` examples of one epoch (all, if None), the same whatever the seed and the batch size.

        For validation: examples are packed and masked in the same way each time, so that numbers of
        any two models or moments compare.
        """
        total = self.num_examples if count is None else min(count, self.num_examples)
        group = max(1, int(FIXED_TOKENS / self.mean_length))
        for first in range(0, total, group):
            rows = self._unplaced(np.arange(first, min(first + group, total)), 0)
            yield from self._step(rows.packed(self._packing, self.seq_length), rate, 0).batches(micro_rows)

    def example(self, number: int, rate: float) -> Example:
        """Example `number`, as a step would put it in a row."""
        rows = self._unplaced(np.array([number]), self._seed)
        text, words = self._masked(rows, rate, self._seed)
        return Example(
            epoch=int(rows.epoch[0]),
            index=int(rows.index[0]),
            ids=text.ids,
            seen=text.seen,
            chosen=text.chosen,
            words=words.word,
            token_types=(words.position >= text.second[0]).astype(np.int64),
            label=int(rows.segments.label[0]),
        )

    def _unplaced(self, number: Int64Array, seed: int) -> Rows:
        """Examples by number, each in a row of its own."""
        epoch, place = np.divmod(number, self.num_examples)
        index = np.empty_like(place)
        firsts = np.append(np.flatnonzero(np.diff(epoch, prepend=-1)), len(epoch)).tolist()
        for first, last in pairwise(firsts):
            order = Shuffle(self.num_examples, seed, "order", int(epoch[first]))
            index[first:last] = order[place[first:last]]
        segments = self._pairing.segments(self.plan, epoch, index, seed)
        layout = Layout(np.arange(len(number)), np.zeros(len(number), np.int64), len(number))
        return Rows(number, epoch, index, segments, lengths(segments, self._pairing.has_pairs), layout)

    def _group(self, number: int, batch_size: int) -> Rows:
        """The examples of several steps, packed together; the latest is kept, as the next step will ask for it."""
        wanted, latest = (number, batch_size), self._latest
        if latest is None or latest[0] != wanted:
            count = self._examples_of_group(batch_size)
            rows = self._unplaced(np.arange(number * count, (number + 1) * count), self._seed)
            at_least = batch_size * self._steps_of_group(batch_size)
            packed = rows.packed(self._packing, self.seq_length, at_least, shuffle=(self._seed, number))
            self._latest = latest = (wanted, packed)
        return latest[1]

    def _steps_of_group(self, batch_size: int) -> int:
        rows_of_epoch = self.num_examples * self.mean_length / self.seq_length
        return max(1, int(min(GROUP_ROWS, GROUP_EPOCHS * rows_of_epoch) / batch_size))

    def _examples_of_group(self, batch_size: int) -> int:
        """How many examples fill the rows of a group, hardly ever more than them.

        Measured on a sample that no seed changes, so that runs with other seeds take as many.
        """
        known = self._group_sizes.get(batch_size)
        if known is None:
            target = batch_size * self._steps_of_group(batch_size)
            guess = max(1, round(target * self.seq_length / self.mean_length))
            trials = max(2, min(8, SAMPLE // guess))
            index = Shuffle(self.num_examples, 0, "sample")[np.arange(guess * trials) % self.num_examples]
            segments = self._pairing.segments(self.plan, np.zeros(len(index), np.int64), index, 0)
            samples = lengths(segments, self._pairing.has_pairs).reshape(trials, guess)
            rows = max(self._packing.pack(sample, self.seq_length).num_rows for sample in samples)
            # At least one for each row: rows of a single full example each are the least there can be.
            known = self._group_sizes[batch_size] = max(target, guess * target // rows)
        return known

    def _step(self, rows: Rows, rate: float, seed: int) -> Step:
        chunk = np.cumsum(rows.length) // CHUNK_TOKENS
        bounds = [0, *(np.flatnonzero(np.diff(chunk)) + 1).tolist(), len(chunk)]
        parts = [self._masked(rows[first:last], rate, seed)[0] for first, last in pairwise(bounds)]
        return Step(Text.join(parts), rows.layout, rows.number, self.seq_length, self._vocabulary.pad)

    def _masked(self, rows: Rows, rate: float, seed: int) -> tuple[Text, Words]:
        """The text of examples with their masks."""
        has_pairs = self._pairing.has_pairs
        ids, words = assemble(self._split, rows.segments, self._vocabulary, has_pairs, self._masking.predicts_unknown)
        masking = keys(seed, "mask", rows.epoch, rows.index)
        chosen = self._masking.select(words, self._masking.rates(rate, masking), masking)
        corrupting = keys(seed, "corrupt", rows.epoch, rows.index)
        seen = self._corruption.corrupt(ids, chosen, words, corrupting, self._vocabulary)
        labels = rows.segments.label if has_pairs else rows.length[:0]
        return Text(ids, seen, chosen, rows.length, rows.segments.a_length + 2, labels), words


@dataclass(frozen=True)
class Rows:
    """Some examples, ordered by row and column.

    number: (k,) int64, of each example in the run; epoch, index: (k,) int64, which one that is.
    segments: of k examples. length: (k,) int64, their tokens, special ones counted. layout: where they begin.
    """

    number: Int64Array
    epoch: Int64Array
    index: Int64Array
    segments: Segments
    length: Int64Array
    layout: Layout

    def __getitem__(self, which: slice | Int64Array) -> Rows:
        """Some of the examples, where they are."""
        layout = Layout(self.layout.row[which], self.layout.column[which], self.layout.num_rows)
        columns = self.number[which], self.epoch[which], self.index[which], self.segments[which], self.length[which]
        return Rows(*columns, layout)

    def part(self, first: int, last: int) -> Rows:
        """Rows first to last - 1, counted from 0 again."""
        begin, end = np.searchsorted(self.layout.row, (first, last)).tolist()
        part = self[begin:end]
        layout = Layout(part.layout.row - first, part.layout.column, last - first)
        return Rows(part.number, part.epoch, part.index, part.segments, part.length, layout)

    def packed(
        self, packing: Packing, seq_length: int, at_least: int = 1, shuffle: tuple[int, int] | None = None
    ) -> Rows:
        """The same examples in rows made anew.

        at_least: how many rows; shuffle: the seed and number of a random order of the rows, since packing
        leaves the long examples in front.
        """
        layout = spread(packing.pack(self.length, seq_length), at_least)
        row = layout.row
        if shuffle is not None:
            row = Shuffle(layout.num_rows, shuffle[0], "rows", shuffle[1])[row]
        order = np.lexsort((layout.column, row))
        rows = self[order]
        layout = Layout(row[order], layout.column[order], layout.num_rows)
        return Rows(rows.number, rows.epoch, rows.index, rows.segments, rows.length, layout)


@dataclass(frozen=True)
class Step:
    """Examples with their masks, in rows.

    text: the examples, ordered by row and column; layout: where each begins.
    number: (k,) int64, the number of each in the run, to look at one with `Examples.example`.

    Every rank holds the whole step in this form, some ten bytes a token, and lays out only its own
    rows: so the totals that losses are divided by are known to all before the first backward.
    """

    text: Text
    layout: Layout
    number: Int64Array
    seq_length: int
    pad: int

    @property
    def num_rows(self) -> int:
        """Rows over all ranks."""
        return self.layout.num_rows

    @property
    def num_predictions(self) -> int:
        """Tokens to predict, over all ranks."""
        return int(np.count_nonzero(self.text.chosen))

    @property
    def num_pairs(self) -> int:
        """Pairs to judge, over all ranks."""
        return len(self.text.pair_labels)

    @property
    def num_tokens(self) -> int:
        """Tokens that are not padding, over all ranks."""
        return len(self.text.ids)

    def batches(self, micro_rows: int, rank: int = 0, world_size: int = 1) -> list[Batch]:
        """The rows of one rank, in micro-batches of at most `micro_rows`; see `dealt`."""
        bounds = dealt(self.num_rows, micro_rows, rank, world_size)
        return [self._rows(first, last) for first, last in pairwise(bounds)]

    def _rows(self, first: int, last: int) -> Batch:
        begin, end = np.searchsorted(self.layout.row, (first, last)).tolist()
        part = Layout(self.layout.row[begin:end] - first, self.layout.column[begin:end], last - first)
        return lay_out(self.text.part(begin, end), part, self.seq_length, self.pad)
