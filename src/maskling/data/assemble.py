"""From segments to a batch: add special tokens, keep the masks, and collate examples into padded rows.

    Segments --assemble--> ids and WordIds --masking, corruption--> MaskedExamples --collate--> Batch

Examples travel end to end in flat arrays, without padding, until `collate` places them in rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from maskling.arrays import BoolArray, Int64Array, offsets_of
from maskling.data.masking.corruption import MaskingVocabulary
from maskling.data.masking.words import WordIds
from maskling.data.packing import Layout
from maskling.data.pairing.strategy import Segments
from maskling.data.shards import Split, ragged


def lengths(segments: Segments, has_pairs: bool) -> Int64Array:
    """Return the tokens of each example, special tokens included: [CLS] A [SEP], then B [SEP] if there are pairs."""
    if has_pairs:
        return segments.a_length + segments.b_length + 3
    return segments.a_length + 2


def assemble(
    split: Split, segments: Segments, vocabulary: MaskingVocabulary, has_pairs: bool, predicts_unknown: bool
) -> tuple[NDArray[np.int32], WordIds]:
    """Read the tokens of examples, with special tokens around their segments, end to end.

    predicts_unknown: whether [UNK] counts as ordinary; other special tokens of the text itself never do.
    Returns ids (n,) int32 and the words of those n tokens.
    """
    length = lengths(segments, has_pairs)
    first = np.cumsum(length) - length
    starts, sizes, targets = segments.a_start, segments.a_length, first + 1
    if has_pairs:
        starts = np.column_stack((starts, segments.b_start)).ravel()
        sizes = np.column_stack((sizes, segments.b_length)).ravel()
        targets = np.column_stack((targets, targets + segments.a_length + 1)).ravel()
    tokens, word_starts = split.gather(starts, sizes)
    index = ragged(targets, sizes)
    # Every token that is neither [CLS] nor text is [SEP].
    ids = np.full(int(length.sum()), vocabulary.sep, np.int32)
    ids[first] = vocabulary.cls
    ids[index] = tokens
    ordinary = np.zeros(len(ids), dtype=bool)
    ordinary[index] = ~vocabulary.is_special[tokens]
    if predicts_unknown:
        ordinary[index] |= tokens == vocabulary.unk
    # A word starts where the shard says so, and at every ordinary token that follows a special one: a segment may
    # begin inside a word that was longer than a row.
    starts_word = np.zeros(len(ids), dtype=bool)
    starts_word[index] = word_starts
    starts_word[1:] |= ~ordinary[:-1]
    starts_word &= ordinary
    word = np.cumsum(starts_word)
    word -= 1
    word[~ordinary] = -1
    example = np.repeat(np.arange(len(length)), length)
    return ids, WordIds(example, ragged(np.zeros(len(length), np.int64), length), word, len(length))


@dataclass(frozen=True)
class MaskedExamples:
    """Examples with their masks, end to end, not yet placed in rows.

    ids, input_ids: (n,) int32, the original tokens, and the corrupted tokens that the model gets.
    chosen: (n,) bool, which tokens to predict.
    length: (k,) int64, tokens of each example; second: (k,) int64, where in the example segment B begins, its length
    if there is no B.
    pair_labels: (k,) int64, or (0,) if there are no pairs.
    """

    ids: NDArray[np.int32]
    input_ids: NDArray[np.int32]
    chosen: BoolArray
    length: Int64Array
    second: Int64Array
    pair_labels: Int64Array

    def __len__(self) -> int:
        return len(self.length)

    @cached_property
    def _offset(self) -> Int64Array:
        return offsets_of(self.length)

    def part(self, first: int, last: int) -> MaskedExamples:
        """Return examples first to last - 1."""
        tokens, examples = slice(self._offset[first], self._offset[last]), slice(first, last)
        return MaskedExamples(
            ids=self.ids[tokens],
            input_ids=self.input_ids[tokens],
            chosen=self.chosen[tokens],
            length=self.length[examples],
            second=self.second[examples],
            pair_labels=self.pair_labels[examples],
        )

    @staticmethod
    def join(parts: Sequence[MaskedExamples]) -> MaskedExamples:
        """Concatenate several of these into one."""
        if len(parts) == 1:
            return parts[0]
        return MaskedExamples(
            ids=np.concatenate([part.ids for part in parts]),
            input_ids=np.concatenate([part.input_ids for part in parts]),
            chosen=np.concatenate([part.chosen for part in parts]),
            length=np.concatenate([part.length for part in parts]),
            second=np.concatenate([part.second for part in parts]),
            pair_labels=np.concatenate([part.pair_labels for part in parts]),
        )


@dataclass(frozen=True)
class PackedRows:
    """Padded rows of `seq` tokens, each of one or more whole examples that must not attend to each other.

    input_ids, position_ids, token_type_ids: (rows, seq) int32; positions restart at 0 in each example.
    example_ids: (rows, seq) int32, index of the example within its row, -1 for padding. The attention mask follows
    from it: tokens attend to each other if their example ids are equal (`AttentionPattern` of `model/attention.py`).
    first_positions: (k,) int64, flat index in (rows, seq) of the [CLS] of each example, ascending.
    """

    input_ids: NDArray[np.int32]
    position_ids: NDArray[np.int32]
    token_type_ids: NDArray[np.int32]
    example_ids: NDArray[np.int32]
    first_positions: NDArray[np.int64]

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.input_ids)

    @property
    def seq(self) -> int:
        """Tokens per row, padding included."""
        return int(self.input_ids.shape[1])


@dataclass(frozen=True)
class Batch(PackedRows):
    """One micro-batch of pretraining: rows with the tokens to predict.

    masked_positions: (n,) int64, flat indices in (rows, seq) of the tokens to predict, ascending.
    labels: (n,) int64, the original tokens at those positions.
    pair_labels: (k,) int64, or (0,) if there are no pairs.
    num_tokens: tokens that are not padding.

    int32 is what an embedding accepts directly, at half the memory traffic; the labels of a cross-entropy must be
    int64, and so must flat indices, as rows times seq may pass 2**31.
    A batch has no rows only if a step has fewer rows than there are ranks.
    """

    masked_positions: NDArray[np.int64]
    labels: NDArray[np.int64]
    pair_labels: NDArray[np.int64]
    num_tokens: int

    @property
    def fill(self) -> float:
        """Fraction of positions that are not padding."""
        return self.num_tokens / max(1, self.rows * self.seq)


def collate(text: MaskedExamples, layout: Layout, seq: int, pad: int) -> Batch:
    """Collate examples into rows of `seq` tokens, padded with `pad`.

    text: the examples with their masks; layout: where each begins, rows and columns ascending together, the first
    row 0.
    """
    shape = layout.num_rows, seq
    length = text.length
    begin = layout.row * seq + layout.column
    # Index within the row: the distance of an example from the first one of its row.
    within = (np.arange(len(begin)) - np.searchsorted(layout.row, layout.row)).astype(np.int32)
    position = ragged(np.zeros(len(length), np.int64), length)
    flat_index = ragged(begin, length)

    def padded(values: NDArray[np.generic], padding: int) -> NDArray[np.int32]:
        rows = np.full(shape, padding, np.int32)
        rows.reshape(-1)[flat_index] = values
        return rows

    return Batch(
        input_ids=padded(text.input_ids, pad),
        position_ids=padded(position, 0),
        token_type_ids=padded(position >= np.repeat(text.second, length), 0),
        example_ids=padded(np.repeat(within, length), -1),
        masked_positions=flat_index[text.chosen],
        labels=text.ids[text.chosen].astype(np.int64),
        first_positions=begin,
        pair_labels=text.pair_labels,
        num_tokens=len(flat_index),
    )
