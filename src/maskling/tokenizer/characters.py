"""Character classes: white space, word by itself (punctuation, Chinese character), mark, or part of a word."""

from __future__ import annotations

import unicodedata
from typing import Final

import numpy as np
from numpy.typing import NDArray

from maskling.tokenizer.segmentation import IDEOGRAPH, NO_DICTIONARIES, WordRules

# Unicode's White_Space property, as the tokenizers library uses it. Python's str.isspace adds U+001C to U+001F.
SPACES: Final = (
    "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
PART: Final = 0
SPACE: Final = 1
ALONE: Final = 2
MARK: Final = 3  # a combining mark, a variation selector or a joiner: belongs to the character before it
_MARKS: Final = ("Mn", "Mc", "Me")
ZERO_WIDTH_SPACE: Final = "\u200b"  # between words of Khmer, Thai and Burmese
_UNKNOWN: Final = 255  # not classified yet
_KINDS: Final = np.full(0x110000, _UNKNOWN, dtype=np.uint8)


def is_punctuation(character: str) -> bool:
    """Return whether BERT treats a character as punctuation: any ASCII mark or symbol, and Unicode categories P*."""
    code = ord(character)
    if code < 128:
        return 33 <= code <= 47 or 58 <= code <= 64 or 91 <= code <= 96 or 123 <= code <= 126
    return unicodedata.category(character).startswith("P")


def character_kind(character: str) -> int:
    """Return SPACE, ALONE (a punctuation mark or a Chinese character), MARK (combining) or PART (of a word)."""
    if character in SPACES or character == "\u200b":  # the zero-width space separates words
        return SPACE
    if is_punctuation(character) or IDEOGRAPH.match(character):
        return ALONE
    return MARK if unicodedata.category(character) in _MARKS or character in "\u200c\u200d" else PART


def character_kinds(text: str) -> NDArray[np.uint8]:
    """Return the kind of each character, (len(text),) uint8: SPACE, ALONE, MARK or PART."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    found: NDArray[np.uint8] = _KINDS[codes]
    if (found == _UNKNOWN).any():
        for code in np.unique(codes[found == _UNKNOWN]).tolist():
            _KINDS[code] = character_kind(chr(code))
        found = _KINDS[codes]
    return found


def character_word_starts(text: str, words: WordRules = NO_DICTIONARIES) -> NDArray[np.bool_]:
    """Return whether a word starts at each character, (len(text),) bool; False on white space.

    words: how words are found in scripts without spaces; by default each Chinese character is a word. A combining mark
    never starts a word, unless nothing or white space is before it. A zero-width space ends a word.
    """
    kind_of = character_kinds(text)
    if text.isascii():
        word_start: NDArray[np.bool_] = kind_of != SPACE
        word_start[1:] &= (kind_of[1:] == ALONE) | (kind_of[:-1] != PART)
        return word_start
    marks = kind_of == MARK
    if marks.any():
        # A mark is of the kind of the character it belongs to; without one, it is part of a word.
        base = np.maximum.accumulate(np.where(marks, 0, np.arange(len(text))))
        kind_of = np.where(marks & np.isin(kind_of[base], (SPACE, MARK)), PART, kind_of[base])
    word_start = kind_of != SPACE
    word_start[1:] &= (kind_of[1:] == ALONE) | (kind_of[:-1] != PART)
    if ZERO_WIDTH_SPACE in text:
        after = np.flatnonzero(np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32) == 0x200B)
        inner = after[after > 0]
        word_start[inner[kind_of[inner - 1] != SPACE]] = False
        after = after[after + 1 < len(text)] + 1
        word_start[after] = kind_of[after] != SPACE
    if words is not NO_DICTIONARIES:
        for begin, end, begins in words.words(text):
            word_start[begin:end] = False
            word_start[begins] = True
            if end < len(text):
                word_start[end] = kind_of[end] != SPACE and text[end] != ZERO_WIDTH_SPACE
    if marks.any():
        word_start[1:] &= ~marks[1:] | (character_kinds(text)[:-1] == SPACE)
    return word_start


def dictionary_characters(text: str, words: WordRules) -> NDArray[np.bool_]:
    """Return for which characters a dictionary decides whether a word starts there, (len(text),) bool.

    It also decides about the character after its last word.
    """
    known = np.zeros(len(text), dtype=bool)
    for begin, end, _ in words.words(text):
        known[begin : end + 1] = True
    return known


def looks_chinese(text: str) -> bool:
    """Guess quickly whether a text has Chinese characters; affects the speed of encoding, never its result."""
    # One of these is in every Chinese or Japanese text of a sentence or more.
    return not text.isascii() and (
        "，" in text or "。" in text or "、" in text or "的" in text or "の" in text or "一" in text
    )
