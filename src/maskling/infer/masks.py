"""Masks in a text: find them in any spelling, encode the text, and write it again with the masks filled."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maskling.errors import TokenizerError
from maskling.tokenizer.tokenizer import Tokenizer

Pieces = tuple[int, ...]

# The spellings of BERT and RoBERTa are accepted for every model, in addition to the model's own.
SPELLINGS = ("[MASK]", "<mask>")


@dataclass(frozen=True)
class Slots:
    """An encoded text with masks (slots) still to be filled.

    ids: (n,) int64, [CLS] and [SEP] included; open: (slot, position in ids) of each remaining mask, from left to right;
    chosen: the pieces put into each slot, None while it is open; spaced: whether a space precedes each slot in the text
    (byte-level vocabularies write 'word' and ' word' with different tokens); cut: whether the text was truncated.
    """

    ids: NDArray[np.int64]
    open: tuple[tuple[int, int], ...]
    chosen: tuple[Pieces | None, ...]
    spaced: tuple[bool, ...]
    cut: bool = False

    def put(self, slot: int, pieces: Sequence[int]) -> Slots:
        """Return the text with one slot filled; several pieces shift the positions to their right."""
        position = dict(self.open)[slot]
        shift = len(pieces) - 1
        ids = np.concatenate([self.ids[:position], np.array(pieces, dtype=np.int64), self.ids[position + 1 :]])
        left = tuple((other, at + shift * (at > position)) for other, at in self.open if other != slot)
        chosen = tuple(tuple(pieces) if other == slot else old for other, old in enumerate(self.chosen))
        return Slots(ids, left, chosen, self.spaced, self.cut)


def read_slots(text: str, tokenizer: Tokenizer, max_length: int, room: int = 0) -> Slots:
    """Encode a text and find its masks.

    A text longer than `max_length` tokens, less `room` for each mask, is truncated to the tokens nearest to its masks.
    Raises TokenizerError if there is no mask or the masks are too far apart for the model.
    """
    mask, special = tokenizer.mask_token, tokenizer.special
    found = len(mask_pattern(tokenizer).findall(text))
    if not found:
        raise TokenizerError(
            f"there is no {mask} in {_shown(text)}; write {mask} where the model should fill in a word"
        )
    # The tokenizer itself must read the mask token: it decides what happens to the space before it.
    own = mask_pattern(tokenizer).sub(lambda _: mask, text)
    ids = np.asarray(tokenizer.encode(own, special_in_text=True).ids, dtype=np.int64)
    limit = max_length - 2 - room * found
    first, last = _window(np.flatnonzero(ids == special.mask), len(ids), limit, text)
    cut = last - first < len(ids)
    ids = np.concatenate([[special.cls], ids[first:last], [special.sep]]).astype(np.int64)
    positions = np.flatnonzero(ids == special.mask)
    slots = tuple((slot, int(position)) for slot, position in enumerate(positions))
    spaced = tuple(part[-1:].isspace() for part in mask_pattern(tokenizer).split(text)[:-1])
    return Slots(ids, slots, (None,) * len(slots), spaced, cut)


def written(text: str, tokenizer: Tokenizer, chosen: Sequence[Pieces | None]) -> str:
    """Return the original text with filled masks replaced by words; open masks keep their spelling."""
    spellings = mask_pattern(tokenizer).findall(text)
    between = mask_pattern(tokenizer).split(text)
    result = between[0]
    for pieces, spelling, after in zip(chosen, spellings, between[1:], strict=True):
        if pieces is None:
            result += spelling
        elif continues(pieces, tokenizer):
            result = result.rstrip() + word_of(pieces, tokenizer)
        else:
            result += word_of(pieces, tokenizer)
        result += after
    return result


def word_of(pieces: Sequence[int], tokenizer: Tokenizer) -> str:
    """Return pieces as readable text: without '##', 'Ġ' or surrounding spaces."""
    word: str = tokenizer.decode(list(pieces)).strip()
    return word.removeprefix("##") if len(word) > 2 and continues(pieces, tokenizer) else word


def continues(pieces: Sequence[int], tokenizer: Tokenizer) -> bool:
    """Return whether pieces continue the word before them, without a space."""
    return not tokenizer.starts_word[pieces[0]]


def mask_pattern(tokenizer: Tokenizer) -> re.Pattern[str]:
    """Return a pattern that matches every spelling of a mask."""
    spellings = sorted({tokenizer.mask_token, *SPELLINGS}, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, spellings)))


def _window(positions: NDArray[np.intp], length: int, limit: int, text: str) -> tuple[int, int]:
    """Return the first token to keep and the end: all tokens, or `limit` tokens around the masks."""
    if length <= limit:
        return 0, length
    span = int(positions[-1] - positions[0]) + 1
    if span > limit:
        raise TokenizerError(
            f"the masks of {_shown(text)} are {span:,} tokens apart and this model reads {limit:,} at once; "
            f"give it a shorter text, or one mask at a time"
        )
    first = int(positions[0]) - (limit - span) // 2
    first = min(max(first, 0), length - limit)
    return first, first + limit


def _shown(text: str) -> str:
    line = " ".join(text.split())
    return repr(line if len(line) <= 60 else f"{line[:57]}...")
