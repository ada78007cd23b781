"""Encodings as numpy arrays: many texts in one block, or one text with the character span of each token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskling.arrays import Int64Array, offsets_of
from maskling.tokenizer import characters
from maskling.tokenizer.segmentation import WordRules
from maskling.tokenizer.word_starts import TokenSpelling, word_starts


@dataclass(frozen=True, slots=True)
class Encoded:
    """The tokens of several texts, concatenated.

    ids: (tokens,) int32; word_starts: (tokens,) bool, True where a token starts a word; offsets: (texts + 1,) int64,
    text i has the tokens offsets[i] to offsets[i + 1] - 1.
    """

    ids: NDArray[np.int32]
    word_starts: NDArray[np.bool_]
    offsets: NDArray[np.int64]


def join(parts: Sequence[Encoded]) -> Encoded:
    """Concatenate the texts of all parts, in order."""
    ends = offsets_of([len(part.ids) for part in parts])
    offsets = [part.offsets[:-1] + end for part, end in zip(parts, ends, strict=False)]
    return Encoded(
        np.concatenate([part.ids for part in parts]),
        np.concatenate([part.word_starts for part in parts]),
        np.concatenate([*offsets, ends[-1:]]),
    )


def interleave(first: Encoded, second: Encoded, from_second: Sequence[bool]) -> Encoded:
    """Merge the texts of two blocks: the next text of `second` where `from_second` is True, else the next of `first`.

    from_second: one bool per text of the result.
    """
    chosen = np.array(from_second, dtype=bool)
    lengths = np.empty(len(chosen), dtype=np.int64)
    lengths[~chosen], lengths[chosen] = np.diff(first.offsets), np.diff(second.offsets)
    begins = np.empty(len(chosen), dtype=np.int64)
    begins[~chosen], begins[chosen] = first.offsets[:-1], second.offsets[:-1] + len(first.ids)
    offsets = offsets_of(lengths)
    source = np.repeat(begins - offsets[:-1], lengths) + np.arange(offsets[-1])
    ids = np.concatenate([first.ids, second.ids])[source]
    return Encoded(ids, np.concatenate([first.word_starts, second.word_starts])[source], offsets)


@dataclass(frozen=True, slots=True)
class TokenSpans:
    """The tokens of one text with their character spans, without surrounding white space.

    ids: (n,) int32; begins, ends: (n,) int32, token i covers the characters begins[i] to ends[i] - 1. Several tokens of
    one character have the same span; a token of white space only has begins == ends.
    """

    ids: NDArray[np.int32]
    begins: NDArray[np.int32]
    ends: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.ids)


def token_spans(texts: Sequence[str], encodings: Sequence[Any]) -> list[TokenSpans]:
    """Convert the library's Encoding objects, made without special tokens, to arrays. texts: the encoded texts."""
    spans = []
    for text, encoding in zip(texts, encodings, strict=True):
        offsets = np.array(encoding.offsets, np.int32).reshape(-1, 2)
        # Byte-level and Unigram tokens include the space before them; an answer should not.
        visible = np.flatnonzero(characters.character_kinds(text) != characters.SPACE)
        first, last = np.searchsorted(visible, offsets[:, 0]), np.searchsorted(visible, offsets[:, 1])
        has_visible = first < last
        begins, ends = offsets[:, 0].copy(), offsets[:, 0].copy()
        begins[has_visible] = visible[first[has_visible]]
        ends[has_visible] = visible[last[has_visible] - 1] + 1
        spans.append(TokenSpans(np.array(encoding.ids, np.int32), begins, ends))
    return spans


def from_encodings(
    texts: Sequence[str], encodings: Sequence[Any], spelling: TokenSpelling, words: WordRules
) -> Encoded:
    """Convert the library's Encoding objects, made without special tokens, to one block. texts: the encoded texts."""
    offsets = offsets_of([len(encoding) for encoding in encodings])
    ids = np.fromiter((id_ for encoding in encodings for id_ in encoding.ids), dtype=np.int32, count=int(offsets[-1]))
    # Lines are independent, and a dictionary is fastest on many of them.
    at = np.split(characters.character_word_starts("\n".join(texts), words), _line_ends(texts))
    if spelling.continuing is None:
        rows = [word_starts(*each) for each in zip(texts, encodings, at, strict=False)]
        return Encoded(ids, np.concatenate(rows) if rows else np.zeros(0, dtype=bool), offsets)
    starts: NDArray[np.bool_] = ~spelling.continuing[ids]
    if not any(map(words.apply_to, texts)):
        return Encoded(ids, starts, offsets)
    known = np.split(characters.dictionary_characters("\n".join(texts), words), _line_ends(texts))
    for line, encoding, first in zip(range(len(texts)), encodings, offsets, strict=False):
        if len(encoding):
            own = starts[first : first + len(encoding)]
            begins = np.array(encoding.offsets, dtype=np.int64)[:, 0]
            inside = known[line][begins]
            # Of several tokens of one character only the first can start a word.
            own[inside] = (at[line][begins] & (np.diff(begins, prepend=-1) > 0))[inside]
            own[0] = True
    return Encoded(ids, starts, offsets)


def _line_ends(texts: Sequence[str]) -> Int64Array:
    """Return where each text but the last ends in all texts joined by line breaks, the break included."""
    return offsets_of([len(text) + 1 for text in texts])[1:-1]
