"""Examples of a run: any optimizer step as a pure function of (seed, step), and any example of (seed, epoch, index).

    step --> examples of its group --packing--> rows of the step --assemble, mask, corrupt--> StepExamples --> Batch

No state passes from one step to the next, so a dataloader can be resumed at any step, and read by any number of
workers and ranks, without changing a token. What is kept between calls is a cache.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from maskling.arrays import BoolArray, Int64Array
from maskling.data.assemble import Batch, MaskedExamples, assemble, collate, lengths
from maskling.data.masking.corruption import Corruption, MaskingVocabulary
from maskling.data.masking.strategy import Masking
from maskling.data.masking.words import WordIds
from maskling.data.packing import Layout, Packing, micro_batch_bounds, split_rows
from maskling.data.pairing.strategy import Pairing, Segments
from maskling.data.shards import Split
from maskling.randomness import Shuffle, keys

# Tokens assembled and masked at once: enough to make numpy's calls cheap, few enough to stay in the cache.
CHUNK_TOKENS = 1 << 15
# Rows packed together and then dealt to steps. Many rows fill better, and their number is known beforehand.
GROUP_ROWS = 2048
# Epochs that a group may mix if the corpus is short.
GROUP_EPOCHS = 4
# At most this many examples are packed to measure how many fill a group.
SAMPLE = 1 << 18
# Validation tokens packed together, whatever the batch size.
FIXED_TOKENS = 1 << 16
# At most this many examples are masked to measure the mask rate.
MAX_MEASURED = 1 << 13


class Examples:
    """The examples of a split in all epochs, one after the other without end.

    Example g is at index g % N of the random order of epoch g // N. Its content, masks included, is a function of
    the seed, its epoch and its index in the plan. A group of steps takes a range of examples, packs them together,
    and deals the rows to its steps in random order; so a step is a function of the seed and the step index.
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
        """Plan the epochs. Raises DataError if the split cannot give examples of this kind."""
        self.seq_length = seq_length
        self.plan = pairing.plan(split, seq_length)
        self._split, self._vocabulary, self._seed = split, vocabulary, seed
        self._latest: tuple[tuple[int, int], PackedExamples] | None = None
        self._block: tuple[tuple[int, int, int, float], MaskedExamples] | None = None
        self._rate: float | None = None
        self._group_sizes: dict[int, int] = {}
        self._pairing, self._masking, self._corruption, self._packing = pairing, masking, corruption, packing

    @property
    def num_examples(self) -> int:
        """Examples per epoch."""
        return len(self.plan)

    @property
    def mean_length(self) -> float:
        """Mean tokens per example, special tokens included."""
        return self.plan.mean_length + self._pairing.num_special

    def examples_per_step(self, batch_size: int) -> int:
        """Return how many examples a step takes on average."""
        steps = self._steps_of_group(batch_size)
        return max(1, round(self._examples_of_group(batch_size) / steps))

    def step(self, step: int, batch_size: int, rate: float) -> StepExamples:
        """Return the examples of optimizer step `step`, counted from 0, with that fraction of tokens to predict.

        `batch_size` counts rows of `seq_length` tokens over all ranks. A step has that many, in rare cases one more;
        one less only if there are fewer examples than rows.
        """
        steps = self._steps_of_group(batch_size)
        group_index, step_in_group = divmod(step, steps)
        group = self._group(group_index, batch_size)

        def first_row(step_in_group: int) -> int:
            return group.layout.num_rows * step_in_group // steps

        rows = group.part(first_row(step_in_group), first_row(step_in_group + 1))
        # Small steps are masked several at a time, once the rate stops changing.
        several = CHUNK_TOKENS // (batch_size * self.seq_length)
        same_rate, self._rate = rate == self._rate, rate
        if several < 2 or not same_rate:
            return self._step(rows, rate, self._seed)
        first = step_in_group // several * several
        wanted = (group_index, batch_size, first, rate)
        if self._block is None or self._block[0] != wanted:
            together = group.part(first_row(first), first_row(min(first + several, steps)))
            self._block = (wanted, self._masked(together, rate, self._seed)[0])
        before, begin = np.searchsorted(group.layout.row, (first_row(first), first_row(step_in_group))).tolist()
        text = self._block[1].part(begin - before, begin - before + len(rows.global_index))
        return StepExamples(text, rows.layout, rows.global_index, self.seq_length, self._vocabulary.pad)

    def take(self, first: int, count: int, rate: float) -> StepExamples:
        """Return examples `first` to `first + count - 1`, counted over all epochs, packed into rows."""
        rows = self._one_per_row(np.arange(first, first + count), self._seed)
        return self._step(rows.packed(self._packing, self.seq_length), rate, self._seed)

    def fixed(self, count: int | None, rate: float, micro_rows: int) -> Iterator[Batch]:
        """Yield the first `count` examples of one epoch (all, if None), whatever the seed and the batch size.

        For held-out evaluation: examples are packed and masked in the same way each time, so that the metrics of any
        two models or checkpoints compare.
        """
        total = self.num_examples if count is None else min(count, self.num_examples)
        group = max(1, int(FIXED_TOKENS / self.mean_length))
        for first in range(0, total, group):
            rows = self._one_per_row(np.arange(first, min(first + group, total)), 0)
            yield from self._step(rows.packed(self._packing, self.seq_length), rate, 0).batches(micro_rows)

    def example(self, global_index: int, rate: float) -> Example:
        """Return example `global_index`, counted over all epochs, as a step would contain it."""
        rows = self._one_per_row(np.array([global_index]), self._seed)
        text, words = self._masked(rows, rate, self._seed)
        return Example(
            epoch=int(rows.epoch[0]),
            index=int(rows.index[0]),
            ids=text.ids,
            input_ids=text.input_ids,
            chosen=text.chosen,
            words=words.word,
            token_types=(words.position >= text.second[0]).astype(np.int64),
            label=int(rows.segments.label[0]),
        )

    def with_masking(self, masking: Masking) -> Examples:
        """Return the same examples with other masks."""
        other = copy.copy(self)
        other._masking, other._block = masking, None
        return other

    def mask_rate(self, tokens: int, rate: float) -> MaskRate:
        """Measure the fraction of tokens that the masking chooses in the first examples, over several epochs if few.

        tokens: number of tokens to measure it on, about; rate: asked for.
        """
        count = min(MAX_MEASURED, max(1, round(tokens / self.mean_length)))
        rows = self._one_per_row(np.arange(count), self._seed)
        text, words = self._masked(rows, rate, self._seed)
        asked = self._masking.rates(rate, keys(self._seed, "mask", rows.epoch, rows.index))
        ordinary = max(1, int(words.num_ordinary.sum()))
        num_words = len(np.unique(words.word[words.ordinary]))
        return MaskRate(
            asked=float((asked * words.num_ordinary).sum()) / ordinary,
            met=int(np.count_nonzero(text.chosen)) / ordinary,
            tokens_per_word=ordinary / max(1, num_words),
            tokens_per_example=ordinary / max(1, len(rows.index)),
        )

    def _one_per_row(self, global_index: Int64Array, seed: int) -> PackedExamples:
        """Return examples, counted over all epochs, each in a row of its own."""
        epoch, rank = np.divmod(global_index, self.num_examples)
        index = np.empty_like(rank)
        firsts = np.append(np.flatnonzero(np.diff(epoch, prepend=-1)), len(epoch)).tolist()
        for first, last in pairwise(firsts):
            order = Shuffle(self.num_examples, seed, "order", int(epoch[first]))
            index[first:last] = order[rank[first:last]]
        segments = self._pairing.segments(self.plan, epoch, index, seed)
        layout = Layout(np.arange(len(global_index)), np.zeros(len(global_index), np.int64), len(global_index))
        length = lengths(segments, self._pairing.has_pairs)
        return PackedExamples(global_index, epoch, index, segments, length, layout)

    def _group(self, group_index: int, batch_size: int) -> PackedExamples:
        """Return the examples of several steps, packed together. The latest group is cached for the next step."""
        wanted, latest = (group_index, batch_size), self._latest
        if latest is None or latest[0] != wanted:
            count = self._examples_of_group(batch_size)
            rows = self._one_per_row(np.arange(group_index * count, (group_index + 1) * count), self._seed)
            at_least = batch_size * self._steps_of_group(batch_size)
            packed = rows.packed(self._packing, self.seq_length, at_least, shuffle=(self._seed, group_index))
            self._latest = latest = (wanted, packed)
        return latest[1]

    def _steps_of_group(self, batch_size: int) -> int:
        rows_of_epoch = self.num_examples * self.mean_length / self.seq_length
        return max(1, int(min(GROUP_ROWS, GROUP_EPOCHS * rows_of_epoch) / batch_size))

    def _examples_of_group(self, batch_size: int) -> int:
        """Return how many examples fill the rows of a group, hardly ever more than those rows.

        Measured on a sample that does not depend on the seed, so that runs with other seeds take as many.
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
            # At least one per row: rows of a single full example each are the fewest possible.
            known = self._group_sizes[batch_size] = max(target, guess * target // rows)
        return known

    def _step(self, rows: PackedExamples, rate: float, seed: int) -> StepExamples:
        chunk = np.cumsum(rows.length) // CHUNK_TOKENS
        bounds = [0, *(np.flatnonzero(np.diff(chunk)) + 1).tolist(), len(chunk)]
        parts = [self._masked(rows[first:last], rate, seed)[0] for first, last in pairwise(bounds)]
        return StepExamples(
            MaskedExamples.join(parts), rows.layout, rows.global_index, self.seq_length, self._vocabulary.pad
        )

    def _masked(self, rows: PackedExamples, rate: float, seed: int) -> tuple[MaskedExamples, WordIds]:
        """Read the tokens of examples, choose those to predict, and corrupt them."""
        has_pairs = self._pairing.has_pairs
        ids, words = assemble(self._split, rows.segments, self._vocabulary, has_pairs, self._masking.predicts_unknown)
        masking = keys(seed, "mask", rows.epoch, rows.index)
        chosen = self._masking.select(words, self._masking.rates(rate, masking), masking)
        corrupting = keys(seed, "corrupt", rows.epoch, rows.index)
        input_ids = self._corruption.corrupt(ids, chosen, words, corrupting, self._vocabulary)
        labels = rows.segments.label if has_pairs else rows.length[:0]
        return MaskedExamples(ids, input_ids, chosen, rows.length, rows.segments.a_length + 2, labels), words


@dataclass(frozen=True)
class StepExamples:
    """The examples of one optimizer step with their masks, in rows, before they are split over ranks.

    text: the examples, ordered by row and column; layout: where each begins.
    global_index: (k,) int64, the index of each over all epochs, to look at one with `Examples.example`.

    Every rank holds the whole step in this form, some ten bytes per token, and collates only its own
    rows: so the totals that losses are divided by are known on every rank before the first backward, without an
    all-reduce.
    """

    text: MaskedExamples
    layout: Layout
    global_index: Int64Array
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
        """Sentence pairs to classify, over all ranks."""
        return len(self.text.pair_labels)

    @property
    def num_tokens(self) -> int:
        """Tokens that are not padding, over all ranks."""
        return len(self.text.ids)

    def batches(self, micro_rows: int, rank: int = 0, world_size: int = 1) -> list[Batch]:
        """Return the rows of one rank, collated into micro-batches of at most `micro_rows` rows."""
        bounds = micro_batch_bounds(self.num_rows, micro_rows, rank, world_size)
        return [self._collate(first, last) for first, last in pairwise(bounds)]

    def _collate(self, first: int, last: int) -> Batch:
        begin, end = np.searchsorted(self.layout.row, (first, last)).tolist()
        part = Layout(self.layout.row[begin:end] - first, self.layout.column[begin:end], last - first)
        return collate(self.text.part(begin, end), part, self.seq_length, self.pad)


@dataclass(frozen=True)
class MaskRate:
    """The fraction of ordinary tokens that is asked for, and that is met; lengths are means over a sample."""

    asked: float
    met: float
    tokens_per_word: float
    tokens_per_example: float


@dataclass(frozen=True)
class Example:
    """One example for a person to look at.

    epoch, index: its epoch, and its index in the plan.
    ids, input_ids: (n,) int32, the original tokens, and the corrupted tokens that the model gets; chosen: (n,) bool;
    words: (n,) int64, the word of each token, -1 for special tokens; token_types: (n,) int64; label: -1 without a
    pair.
    """

    epoch: int
    index: int
    ids: NDArray[np.int32]
    input_ids: NDArray[np.int32]
    chosen: BoolArray
    words: Int64Array
    token_types: Int64Array
    label: int


@dataclass(frozen=True)
class PackedExamples:
    """Examples ordered by row and column, before any of their tokens is read.

    global_index: (k,) int64, the index of each over all epochs; epoch, index: (k,) int64, its epoch, and its index in
    the plan.
    segments: of k examples. length: (k,) int64, their tokens, special tokens included. layout: where they begin.
    """

    global_index: Int64Array
    epoch: Int64Array
    index: Int64Array
    segments: Segments
    length: Int64Array
    layout: Layout

    def __getitem__(self, which: slice | Int64Array) -> PackedExamples:
        """Return some of the examples, in the rows they are in."""
        layout = Layout(self.layout.row[which], self.layout.column[which], self.layout.num_rows)
        examples = self.global_index[which], self.epoch[which], self.index[which]
        return PackedExamples(*examples, self.segments[which], self.length[which], layout)

    def part(self, first: int, last: int) -> PackedExamples:
        """Return rows first to last - 1, counted from 0 again."""
        begin, end = np.searchsorted(self.layout.row, (first, last)).tolist()
        part = self[begin:end]
        return replace(part, layout=Layout(part.layout.row - first, part.layout.column, last - first))

    def packed(
        self, packing: Packing, seq_length: int, at_least: int = 1, shuffle: tuple[int, int] | None = None
    ) -> PackedExamples:
        """Return the same examples in newly packed rows.

        at_least: number of rows, as far as there are examples; shuffle: the seed and index of a random order of the
        rows, since packing puts the long examples first.
        """
        layout = split_rows(packing.pack(self.length, seq_length), at_least)
        row = layout.row
        if shuffle is not None:
            row = Shuffle(layout.num_rows, shuffle[0], "rows", shuffle[1])[row]
        order = np.lexsort((layout.column, row))
        return replace(self[order], layout=Layout(row[order], layout.column[order], layout.num_rows))
