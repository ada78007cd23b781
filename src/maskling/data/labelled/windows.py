"""What a model is to read of each record: one sequence, or several where the record is longer than the model sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from maskling.arrays import Int64Array
from maskling.data.shards import ragged
from maskling.errors import SettingsError
from maskling.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True)
class Windows:
    """Sequences with their special tokens, end to end.

    ids: (t,) int32. length: (w,) int64, tokens of each. second: (w,) int64, where in the sequence token type 1 begins,
    its length where it does not. record: (w,) int64, the number of the record each is of, ascending as they are made.
    """

    ids: NDArray[np.int32]
    length: Int64Array
    second: Int64Array
    record: Int64Array

    def __len__(self) -> int:
        return len(self.length)

    @cached_property
    def first(self) -> Int64Array:
        """Where each begins in `ids`: (w,) int64."""
        return np.cumsum(self.length) - self.length

    @property
    def shares(self) -> NDArray[np.float32]:
        """Which part of its record's tokens each holds, so that those of a record add up to one: (w,) float32."""
        _, record = np.unique(self.record, return_inverse=True)
        shares: NDArray[np.float32] = (self.length / np.bincount(record, self.length)[record]).astype(np.float32)
        return shares

    def take(self, which: Int64Array) -> Windows:
        """Some of them, in the order of `which`: (m,) int64."""
        length = self.length[which]
        ids = self.ids[ragged(self.first[which], length)]
        return Windows(ids, length, self.second[which], self.record[which])

    def __getitem__(self, number: int) -> NDArray[np.int32]:
        """The ids of one."""
        first = int(self.first[number])
        return self.ids[first : first + int(self.length[number])]


def windows_of(parts: Sequence[tuple[int, NDArray[np.int32], int]]) -> Windows:
    """Sequences, each as (record, ids, where token type 1 begins or its length), as one."""
    return Windows(
        ids=np.concatenate([np.zeros(0, np.int32), *(ids for _, ids, _ in parts)]).astype(np.int32),
        length=np.array([len(ids) for _, ids, _ in parts], np.int64),
        second=np.array([second for _, _, second in parts], np.int64),
        record=np.array([record for record, _, _ in parts], np.int64),
    )


def framed(tokenizer: Tokenizer, *segments: NDArray[np.int32]) -> tuple[NDArray[np.int32], int]:
    """One segment or two with the special tokens of the model around them, and where token type 1 begins.

    [CLS] A [SEP], and B [SEP] after it; RoBERTa writes its </s> twice between A and B.
    Models without token types have 0 throughout.
    """
    special = tokenizer.special
    sep = np.full(1, special.sep, np.int32)
    parts = [np.full(1, special.cls, np.int32), segments[0], sep]
    for segment in segments[1:]:
        parts += [sep] * (tokenizer.separators - 1) + [segment, sep]
    ids = np.concatenate(parts).astype(np.int32)
    if len(segments) == 1 or not tokenizer.token_types:
        return ids, len(ids)
    return ids, len(segments[0]) + 1 + tokenizer.separators


def room_in(tokenizer: Tokenizer, max_length: int, num_segments: int = 1, least: int = 1) -> int:
    """Tokens of text that a sequence of `max_length` tokens holds. Raises SettingsError if they are under `least`."""
    special = 2 if num_segments == 1 else 2 + tokenizer.separators
    if max_length - special < least:
        raise SettingsError(
            f"a sequence of {max_length} tokens, {special} of them special, leaves no room for text; "
            f"raise max_length to {special + least} at the least"
        )
    return max_length - special


def spread(length: int, room: int, overlap: int, at_most: int | None = None) -> list[slice]:
    """Windows of `room` tokens over a text of `length` tokens, each sharing `overlap` tokens with the one before.

    The last is shorter, as in BERT's own code: measured on long reviews, rows are fuller so (0.98) than with windows
    of one size (0.80), and it is short by tokens that others would only read twice.
    at_most: where that many windows do not cover the text, they are full and stand apart, the first at its beginning
    and the last at its end; a single one is the beginning.
    """
    if length <= room:
        return [slice(0, length)]
    count = -(-(length - overlap) // (room - overlap))
    if at_most is not None and count > at_most:
        starts = np.linspace(0, length - room, at_most).astype(np.int64).tolist()
    else:
        starts = [number * (room - overlap) for number in range(count)]
    return [slice(start, min(start + room, length)) for start in starts]
