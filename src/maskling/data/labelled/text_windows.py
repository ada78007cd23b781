"""Texts and pairs of texts as sequences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maskling.data.labelled.labels import LabelSet
from maskling.data.labelled.records import TextRecord
from maskling.data.labelled.targets import LabelTargets
from maskling.data.labelled.windows import Windows, framed, room_in, spread, windows_of
from maskling.errors import DataError, SettingsError
from maskling.tokenizer.tokenizer import Tokenizer


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
