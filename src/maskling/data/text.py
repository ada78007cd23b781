"""Examples laid end to end: their tokens with special tokens around the segments, and their masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from maskling.arrays import BoolArray, Int64Array
from maskling.data.corruption import Vocabulary
from maskling.data.masking.words import Words
from maskling.data.pairing.strategy import Segments
from maskling.data.shards import Split, ragged


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
        return np.append(0, np.cumsum(self.length))

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
    split: Split, segments: Segments, vocabulary: Vocabulary, has_pairs: bool, predicts_unknown: bool
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
