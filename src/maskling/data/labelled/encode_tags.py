"""Sentences of words as token sequences, each word predicted at its first token.

A long sentence becomes several windows. Also the spacing between words: the text that a list of words makes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from maskling.arrays import Int64Array, offsets_of
from maskling.data.labelled.encode_texts import (
    IGNORED,
    Windows,
    WordTargets,
    add_special_tokens,
    join_windows,
    text_room,
)
from maskling.data.labelled.records import LabelSet, TaggedRecord
from maskling.errors import SettingsError
from maskling.tokenizer.characters import SPACE, character_kinds, character_word_starts
from maskling.tokenizer.segmentation import IDEOGRAPHS
from maskling.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True)
class TagWindows:
    """The windows of sentences.

    words: those predicted in each window, unlabelled. cut: number of words that lost tokens.
    """

    windows: Windows
    words: WordTargets
    cut: int


def encode_tagged(
    records: Sequence[TaggedRecord], tokenizer: Tokenizer, max_length: int, *, context: int | None = None
) -> TagWindows:
    """Encode words one by one; a sentence too long for the model becomes several windows.

    Every word is predicted once, with `context` tokens of the sentence on either side if it has them (default: a
    quarter of a window). A word without tokens is [UNK], and one longer than half a window loses its end.
    Raises SettingsError if there is no room for text.
    """
    room = text_room(tokenizer, max_length, least=4)
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
    positions: list[NDArray[np.int64]] = []
    words: list[NDArray[np.int64]] = []
    before = 0
    for index, record in enumerate(records):
        mine = pieces[before : before + len(record.words)]
        ends = offsets_of([len(ids) for ids in mine])
        for left, right, first, last in word_windows(ends, room, around):
            ids = np.concatenate([np.zeros(0, np.int32), *mine[left:right]])
            parts.append((index, *add_special_tokens(tokenizer, ids)))
            count.append(last - first)
            positions.append(1 + ends[first:last] - ends[left])
            words.append(np.arange(before + first, before + last))
        before += len(record.words)
    nothing = np.zeros(0, np.int64)
    predicted = np.concatenate([nothing, *words])
    found = WordTargets(
        np.array(count, np.int64),
        np.concatenate([nothing, *positions]),
        predicted,
        np.full(len(predicted), IGNORED, np.int64),
    )
    return TagWindows(join_windows(parts), found, cut)


def tag_targets(records: Sequence[TaggedRecord], labels: LabelSet, encoded: TagWindows) -> WordTargets:
    """Return the words of each window with their tag indices. Raises DataError for an unknown tag."""
    words = encoded.words
    return WordTargets(words.count, words.token_positions, words.words, labels.tag_indices(records)[words.words])


def word_windows(ends: Int64Array, room: int, context: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield windows of whole words over a sentence, as (left, right, first, last).

    The window holds words left to right - 1, and predicts words first to last - 1.
    ends: (words + 1,) int64, 0 and the token offset at which each word ends; no word is longer than room - 2 * context.
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


# Scripts written without spaces: Chinese characters, kana, and their punctuation.
_UNSPACED = re.compile(f"[{IDEOGRAPHS}\u3000-\u30ff\uff00-\uffef]")


def spaces_before(words: Sequence[str]) -> list[bool]:
    """Return whether a space precedes each word: not the first, nor between Chinese or Japanese words."""
    if not words:
        return []
    return [False, *(not (_unspaced(left[-1:]) and _unspaced(right[:1])) for left, right in pairwise(words))]


def words_in(text: str) -> tuple[str, list[str], list[int]]:
    """Return a text, its words, and the character at which each begins.

    Text is split at white space, around punctuation and around Chinese characters, as in BERT's pre-tokenization.
    Words of another kind can be given as lists.
    """
    begins = np.flatnonzero(character_word_starts(text))
    visible = np.flatnonzero(character_kinds(text) != SPACE)
    ends = visible[np.searchsorted(visible, [*begins[1:], len(text)]) - 1] + 1 if len(begins) else begins
    return text, [text[begin:end] for begin, end in zip(begins.tolist(), ends.tolist(), strict=True)], begins.tolist()


def join_words(words: Sequence[str]) -> tuple[str, list[int]]:
    """Join words to a sentence. Returns the text and the character at which each word begins."""
    text, begins = "", []
    for word, space in zip(words, spaces_before(words), strict=True):
        text += " " if space else ""
        begins.append(len(text))
        text += word
    return text, begins


def _unspaced(character: str) -> bool:
    return _UNSPACED.match(character) is not None
