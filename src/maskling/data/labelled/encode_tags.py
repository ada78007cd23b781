"""Sentences of words as sequences in which each word is judged at its first token."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from maskling.arrays import Int64Array
from maskling.data.labelled.encode_texts import IGNORED, Windows, WordTargets, framed, room_in, windows_of
from maskling.data.labelled.records import LabelSet, TaggedRecord
from maskling.errors import SettingsError
from maskling.tokenizer.characters import IDEOGRAPHS
from maskling.tokenizer.tokenizer import Tokenizer

# FOLDED DOCS
# [spacing] Where a person would put spaces between the words of a sentence.


@dataclass(frozen=True)
class TagWindows:
    """windows: of all records; words: the words each window judges, without labels; cut: words that lost tokens."""

    windows: Windows
    words: WordTargets
    cut: int


def encode_tagged(
    records: Sequence[TaggedRecord], tokenizer: Tokenizer, max_length: int, *, context: int | None = None
) -> TagWindows:
    """Encode words one by one; a sentence too long for the model comes in windows.

    Every word is judged once, with `context` tokens of the sentence on either side, where it has them (a quarter of
    a window if None). A word without tokens is [UNK], and one longer than half a window loses its end.
    Raises SettingsError where there is no room.
    """
    room = room_in(tokenizer, max_length, least=4)
    around = room // 4 if context is None else context
    if not 0 <= around <= (room - 1) // 2:
        raise SettingsError(
            f"context must be between 0 and {(room - 1) // 2} with max_length {max_length}, not {around}"
        )
    longest = max(1, room - 2 * around)
    texts = [
        f" {word}" if space else word
        for record in records
        for word, space in zip(record.words, spaces_before(record.words), strict=True)
    ]
    pieces = [tokens.ids for tokens in tokenizer.encode_batch(texts)]
    unknown = np.full(1, tokenizer.special.unk, np.int32)
    cut = sum(len(ids) > longest for ids in pieces)
    pieces = [ids[:longest] if len(ids) else unknown for ids in pieces]

    parts: list[tuple[int, NDArray[np.int32], int]] = []
    count: list[int] = []
    places: list[NDArray[np.int64]] = []
    words: list[NDArray[np.int64]] = []
    before = 0
    for number, record in enumerate(records):
        mine = pieces[before : before + len(record.words)]
        ends = np.array([0, *accumulate(len(ids) for ids in mine)], np.int64)
        for left, right, first, last in word_windows(ends, room, around):
            ids = np.concatenate([np.zeros(0, np.int32), *mine[left:right]])
            parts.append((number, *framed(tokenizer, ids)))
            count.append(last - first)
            places.append(1 + ends[first:last] - ends[left])
            words.append(np.arange(before + first, before + last))
        before += len(record.words)
    nothing = np.zeros(0, np.int64)
    judged = np.concatenate([nothing, *words])
    found = WordTargets(
        np.array(count, np.int64), np.concatenate([nothing, *places]), judged, np.full(len(judged), IGNORED, np.int64)
    )
    return TagWindows(windows_of(parts), found, cut)


def tag_targets(records: Sequence[TaggedRecord], labels: LabelSet, encoded: TagWindows) -> WordTargets:
    """The words that each window judges, with the number of their tag. Raises DataError for a tag that is not known."""
    words = encoded.words
    return WordTargets(words.count, words.places, words.words, labels.tag_indices(records)[words.words])


def word_windows(ends: Int64Array, room: int, context: int) -> Iterator[tuple[int, int, int, int]]:
    """Windows of whole words over a sentence.

    ends: (words + 1,) int64, 0 and where each word ends, in tokens; no word is longer than room - 2 * context.
    Yields (left, right, first, last): the window has words left to right - 1, and judges first to last - 1.
    """
    words = len(ends) - 1
    first = 0
    while first < words or (first == 0 == words):
        left = int(np.searchsorted(ends, ends[first] - context))
        right = int(np.searchsorted(ends, ends[left] + room, side="right")) - 1
        last = words
        if right < words:
            last = max(first + 1, int(np.searchsorted(ends, ends[right] - context, side="right")) - 1)
        yield left, right, first, last
        if words == 0:
            return
        first = last


# Scripts that are written without spaces: Chinese characters, kana, and the marks that go with them.
_UNSPACED = re.compile(f"[{IDEOGRAPHS}\u3000-\u30ff\uff00-\uffef]")


def spaces_before(words: Sequence[str]) -> list[bool]:
    """Whether a space stands before each word: not before the first, nor between words of Chinese or Japanese."""
    if not words:
        return []
    return [False, *(not (_unspaced(left[-1:]) and _unspaced(right[:1])) for left, right in pairwise(words))]


def join_words(words: Sequence[str]) -> tuple[str, list[int]]:
    """The sentence that words make, and the character each begins at."""
    text, begins = "", []
    for word, space in zip(words, spaces_before(words), strict=True):
        text += " " if space else ""
        begins.append(len(text))
        text += word
    return text, begins


def _unspaced(character: str) -> bool:
    return _UNSPACED.match(character) is not None
