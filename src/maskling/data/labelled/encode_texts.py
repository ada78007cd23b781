"""What a model is to read of each record: one sequence, or several where the record is longer than the model sees."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from maskling.arrays import Int64Array
from maskling.data.labelled.records import LabelSet, TextRecord
from maskling.data.shards import ragged
from maskling.errors import DataError, SettingsError
from maskling.tokenizer.tokenizer import Tokenizer

# FOLDED DOCS
# [targets] What is to be said of each sequence, in the form that a head and its loss want.
# [text_windows] Texts and pairs of texts as sequences.


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


# A place whose loss does not count, by PyTorch's convention.
IGNORED = -100


class Targets(ABC):
    """Something for each of w sequences."""

    @abstractmethod
    def take(self, which: Int64Array) -> Self:
        """What belongs to some of the sequences, in the order of `which`: (m,) int64."""

    @property
    @abstractmethod
    def total(self) -> float:
        """What the summed loss is to be divided by."""


@dataclass(frozen=True)
class NoTargets(Targets):
    """Nothing: sequences to predict on."""

    def take(self, which: Int64Array) -> NoTargets:  # noqa: ARG002  (nothing of anything is nothing)
        """Nothing again."""
        return self

    @property
    def total(self) -> float:
        """Nothing to divide by."""
        return 0.0


@dataclass(frozen=True)
class LabelTargets(Targets):
    """A label for each sequence, to be told from its first token.

    labels: (w,) int64 classes, (w, classes) float32 zeros and ones where several may fit, or (w,) float32 numbers.
    weights: (w,) float32, `Windows.shares`: each record counts as one, however long, a window of it by its tokens, and
    no window needs to know where its fellows are. What is foretold of a record is the mean by the same weights.
    """

    labels: NDArray[np.int64] | NDArray[np.float32]
    weights: NDArray[np.float32]

    def take(self, which: Int64Array) -> LabelTargets:
        """The labels of some of the sequences."""
        return LabelTargets(self.labels[which], self.weights[which])

    @property
    def total(self) -> float:
        """Records, as the windows of each add up to one."""
        return float(self.weights.sum(dtype=np.float64))


@dataclass(frozen=True)
class WordTargets(Targets):
    """Tags for words, each to be told from the word's first token.

    count: (w,) int64, how many words are judged in each sequence; n in all.
    places: (n,) int64, where in its sequence the first token of each such word is.
    words: (n,) int64, the number of the word among the words of all records, one record after the other.
    labels: (n,) int64, IGNORED where there is none.
    """

    count: Int64Array
    places: Int64Array
    words: Int64Array
    labels: Int64Array

    def take(self, which: Int64Array) -> WordTargets:
        """The words of some of the sequences."""
        count = self.count[which]
        some = ragged((np.cumsum(self.count) - self.count)[which], count)
        return WordTargets(count, self.places[some], self.words[some], self.labels[some])

    @property
    def total(self) -> float:
        """Words with a label."""
        return float(np.count_nonzero(self.labels != IGNORED))

    def positions(self, first_positions: Int64Array) -> Int64Array:
        """The flat places of the words in a batch. first_positions: (w,) int64. Returns (n,) int64."""
        return np.repeat(first_positions, self.count) + self.places


@dataclass(frozen=True)
class SpanTargets(Targets):
    """The first and last token of the answer in each sequence.

    starts, ends: (w,) int64, places in the sequence; 0, the [CLS], where it holds no answer.
    weights: (w,) float32, 1, or 0 where nobody knows where the answer is. As in BERT's own code every window counts as
    one, so a long context weighs more than a short one.
    """

    starts: Int64Array
    ends: Int64Array
    weights: NDArray[np.float32]

    def take(self, which: Int64Array) -> SpanTargets:
        """The answers of some of the sequences."""
        return SpanTargets(self.starts[which], self.ends[which], self.weights[which])

    @property
    def total(self) -> float:
        """Sequences that count."""
        return float(self.weights.sum(dtype=np.float64))


@dataclass(frozen=True)
class TextWindows:
    """windows: of all records; cut: how many records lost text because it did not fit."""

    windows: Windows
    cut: int


def encode_texts(
    records: Sequence[TextRecord],
    tokenizer: Tokenizer,
    max_length: int,
    *,
    overlap: int = 0,
    max_windows: int | None = None,
) -> TextWindows:
    """Encode texts, a long one in windows, and pairs, the longer text of which is cut where it must be.

    max_length: tokens of a sequence, special ones counted. overlap: tokens that neighbouring windows share at the
    least. max_windows: of a text, all that it takes if None; 1 keeps the beginning, as most tools do.
    Raises SettingsError where there is no room.
    """
    firsts = tokenizer.encode_batch([record.text for record in records])
    seconds = iter(tokenizer.encode_batch([record.text_pair for record in records if record.text_pair is not None]))
    parts: list[tuple[int, NDArray[np.int32], int]] = []
    cut = 0
    for number, (record, tokens) in enumerate(zip(records, firsts, strict=True)):
        if record.text_pair is not None:
            other = next(seconds).ids
            first, second = longest_first(len(tokens), len(other), room_in(tokenizer, max_length, 2, 2))
            cut += first + second < len(tokens) + len(other)
            parts.append((number, *framed(tokenizer, tokens.ids[:first], other[:second])))
            continue
        room = room_in(tokenizer, max_length)
        if not 0 <= overlap < room:
            raise SettingsError(f"overlap must be between 0 and {room - 1} with max_length {max_length}, not {overlap}")
        some = spread(len(tokens), room, overlap, max_windows)
        cut += len(some) * room - (len(some) - 1) * overlap < len(tokens)
        parts += [(number, *framed(tokenizer, tokens.ids[window])) for window in some]
    return TextWindows(windows_of(parts), cut)


def longest_first(first: int, second: int, room: int) -> tuple[int, int]:
    """How many tokens of each text fit, taking them from the end of whichever is longer at the time.

    An odd token goes to the text that was longer, of two equals to the second, as in the `tokenizers` library; BERT's
    own code gives it to the first.
    """
    if first + second <= room:
        return first, second
    shorter = min(first, second, room // 2)
    return (shorter, room - shorter) if first <= second else (room - shorter, shorter)


def class_targets(records: Sequence[TextRecord], labels: LabelSet, windows: Windows) -> LabelTargets:
    """A class for each window: that of its record. Raises DataError for a record without a label, or another one."""
    return _for_windows(labels.indices(records), windows)


def multi_class_targets(records: Sequence[TextRecord], labels: LabelSet, windows: Windows) -> LabelTargets:
    """Zeros and ones for each window, one for each class that fits its record. Raises DataError."""
    return _for_windows(labels.multi_hot(records), windows)


def number_targets(records: Sequence[TextRecord], windows: Windows) -> LabelTargets:
    """A number for each window. Raises DataError for a record without one."""
    for record in records:
        if not isinstance(record.label, float):
            raise DataError(f"{record.id} has {record.label!r} for a label, and a number is needed")
    return _for_windows(np.array([record.label for record in records], np.float32), windows)


def _for_windows(labels: NDArray[np.int64] | NDArray[np.float32], windows: Windows) -> LabelTargets:
    return LabelTargets(labels[windows.record], windows.shares)
