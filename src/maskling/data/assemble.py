"""Examples laid end to end: their tokens with special tokens around the segments, and their masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from maskling.arrays import BoolArray, Int64Array, offsets_of
from maskling.data.masking.corruption import MaskingVocabulary
from maskling.data.masking.words import Words
from maskling.data.packing import Layout
from maskling.data.pairing.strategy import Segments
from maskling.data.shards import Split, ragged

# FOLDED DOCS
# [batch] Rows of tokens, ready for a model.


@dataclass(frozen=True)
class Text:
    """Some examples with their masks.

    ids, seen: (n,) int32, the tokens as they are and as the model sees them; chosen: (n,) bool, which to predict.
    length: (k,) int64, tokens of each example; second: (k,) int64, where in the example segment B begins, its length
    if it has none.
    pair_labels: (k,) int64, or (0,) where there are no pairs.
    """

    ids: NDArray[np.int32]
    seen: NDArray[np.int32]
    chosen: BoolArray
    length: Int64Array
    second: Int64Array
    pair_labels: Int64Array

    def __len__(self) -> int:
        return len(self.length)

    @cached_property
    def _offset(self) -> Int64Array:
        return offsets_of(self.length)

    def part(self, first: int, last: int) -> Text:
        """Examples first to last - 1."""
        tokens, examples = slice(self._offset[first], self._offset[last]), slice(first, last)
        return Text(
            ids=self.ids[tokens],
            seen=self.seen[tokens],
            chosen=self.chosen[tokens],
            length=self.length[examples],
            second=self.second[examples],
            pair_labels=self.pair_labels[examples],
        )

    @staticmethod
    def join(parts: Sequence[Text]) -> Text:
        """One text of several."""
        if len(parts) == 1:
            return parts[0]
        columns = ("ids", "seen", "chosen", "length", "second", "pair_labels")
        return Text(*(np.concatenate([getattr(part, column) for part in parts]) for column in columns))


def lengths(segments: Segments, has_pairs: bool) -> Int64Array:
    """Tokens of each example, special ones counted: [CLS] A [SEP], and B [SEP] where there are pairs."""
    if has_pairs:
        return segments.a_length + segments.b_length + 3
    return segments.a_length + 2


def assemble(
    split: Split, segments: Segments, vocabulary: MaskingVocabulary, has_pairs: bool, predicts_unknown: bool
) -> tuple[NDArray[np.int32], Words]:
    """The tokens of examples end to end, and the words they belong to.

    predicts_unknown: whether special tokens of the text itself, as [UNK], count as ordinary.
    Returns ids (n,) int32 and the words of those n tokens.
    """
    length = lengths(segments, has_pairs)
    first = np.cumsum(length) - length
    starts, sizes, into = segments.a_start, segments.a_length, first + 1
    if has_pairs:
        starts = np.column_stack((starts, segments.b_start)).ravel()
        sizes = np.column_stack((sizes, segments.b_length)).ravel()
        into = np.column_stack((into, into + segments.a_length + 1)).ravel()
    tokens, word_starts = split.gather(starts, sizes)
    place = ragged(into, sizes)
    # What is neither [CLS] nor text is [SEP].
    ids = np.full(int(length.sum()), vocabulary.sep, np.int32)
    ids[first] = vocabulary.cls
    ids[place] = tokens
    ordinary = np.zeros(len(ids), dtype=bool)
    ordinary[place] = True if predicts_unknown else ~vocabulary.is_special[tokens]
    # A word starts where the text says so, and wherever an ordinary token follows another: a segment may begin
    # inside a word that was longer than a row.
    begins = np.zeros(len(ids), dtype=bool)
    begins[place] = word_starts
    begins[1:] |= ~ordinary[:-1]
    begins &= ordinary
    word = np.cumsum(begins)
    word -= 1
    word[~ordinary] = -1
    example = np.repeat(np.arange(len(length)), length)
    return ids, Words(example, ragged(np.zeros(len(length), np.int64), length), word, len(length))


@dataclass(frozen=True)
class PackedRows:
    """Rows of `seq` tokens, each of one or more whole examples that must not see each other.

    input_ids, position_ids, token_type_ids: (rows, seq) int32; positions begin anew in each example.
    example_ids: (rows, seq) int32, number of the example within its row, -1 where there is padding.
    first_positions: (k,) int64, flat places of the [CLS] of each example, ascending.
    """

    input_ids: NDArray[np.int32]
    position_ids: NDArray[np.int32]
    token_type_ids: NDArray[np.int32]
    example_ids: NDArray[np.int32]
    first_positions: NDArray[np.int64]

    @property
    def rows(self) -> int:
        """How many rows."""
        return len(self.input_ids)

    @property
    def seq(self) -> int:
        """Tokens of a row, padding included."""
        return int(self.input_ids.shape[1])


@dataclass(frozen=True)
class Batch(PackedRows):
    """Rows to predict masked tokens in.

    masked_positions: (n,) int64, flat places in (rows, seq) to predict, ascending.
    labels: (n,) int64, the tokens that stood there.
    pair_labels: (k,) int64, or (0,) where there are no pairs.

    int32 is what an embedding takes as it is, at half the traffic; only the labels of a
    cross-entropy must be int64, and flat places are where rows times seq could pass 2**31.
    A batch of no rows exists only where a step has fewer rows than there are ranks.
    """

    masked_positions: NDArray[np.int64]
    labels: NDArray[np.int64]
    pair_labels: NDArray[np.int64]
    num_tokens: int

    @property
    def fill(self) -> float:
        """The fraction of places that are not padding."""
        return self.num_tokens / max(1, self.rows * self.seq)


def lay_out(text: Text, layout: Layout, seq: int, pad: int) -> Batch:
    """Put examples in their rows.

    text: some examples with their masks; layout: where each begins, rows and columns ascending together, the first
    row 0.
    """
    shape = layout.num_rows, seq
    length = text.length
    begin = layout.row * seq + layout.column
    # Number within its row: how far an example is from the first of that row.
    within = (np.arange(len(begin)) - np.searchsorted(layout.row, layout.row)).astype(np.int32)
    position = ragged(np.zeros(len(length), np.int64), length)
    place = ragged(begin, length)

    def rows_of(values: NDArray[np.generic], padding: int) -> NDArray[np.int32]:
        rows = np.full(shape, padding, np.int32)
        rows.reshape(-1)[place] = values
        return rows

    return Batch(
        input_ids=rows_of(text.seen, pad),
        position_ids=rows_of(position, 0),
        token_type_ids=rows_of(position >= np.repeat(text.second, length), 0),
        example_ids=rows_of(np.repeat(within, length), -1),
        masked_positions=place[text.chosen],
        labels=text.ids[text.chosen].astype(np.int64),
        first_positions=begin,
        pair_labels=text.pair_labels,
        num_tokens=len(place),
    )
