"""Where words start in a sequence of tokens, for every kind of tokenizer.

A word is what white space and punctuation leave; a mark of punctuation is a word, and so is a Chinese
character unless a dictionary says otherwise. Two ways to know, both from the library's own offsets:
`word_starts` works on any encoding of any tokenizer, and `starts_words` judges each token by its looks.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from maskling.tokenizer.chinese import IDEOGRAPH, RUN, segment

_OTHER: Final = 0
_SPACE: Final = 1
_ALONE: Final = 2


def is_punctuation(character: str) -> bool:
    """BERT's definition: the ASCII marks, letters and digits left out, and the Unicode category P."""
    code = ord(character)
    if code < 128:
        return 33 <= code <= 47 or 58 <= code <= 64 or 91 <= code <= 96 or 123 <= code <= 126
    return unicodedata.category(character).startswith("P")


def character_starts(text: str, jieba: bool) -> NDArray[np.bool_]:
    """Whether a word starts at each character. Returns (len(text),) bool; False on white space.

    jieba: cut runs of Chinese characters into dictionary words, not into characters.
    """
    kinds = [_kind(character) for character in text]
    starts = np.zeros(len(text), dtype=bool)
    before = _SPACE
    for place, kind in enumerate(kinds):
        starts[place] = kind != _SPACE and (kind == _ALONE or before != _OTHER)
        before = kind
    if jieba:
        for run in RUN.finditer(text):
            starts[run.start() : run.end()] = False
            place = run.start()
            for word in segment(run.group()):
                starts[place] = True
                place += len(word)
    return starts


def word_starts(text: str, encoding: Any, jieba: bool) -> NDArray[np.bool_]:
    """Whether each token of an encoding starts a word.

    text: what was encoded; encoding: the library's Encoding of it, without special tokens.
    Returns (tokens,) bool. The space before a word belongs to it when the library made them one piece;
    other white space that has tokens is a word of its own.
    """
    at = character_starts(text, jieba)
    space = np.array([character.isspace() for character in text], dtype=bool)
    starts = np.zeros(len(encoding), dtype=bool)
    last_end, last_piece, space_open = 0, None, False
    for index, ((first, end), piece) in enumerate(zip(encoding.offsets, encoding.word_ids, strict=True)):
        new_piece = piece is None or piece != last_piece
        body = first
        while body < end and space[body]:
            body += 1
        if first == end:
            # Nothing of the text: a lone "▁" put before punctuation, or a piece the normalizer made.
            starts[index], space_open = new_piece, True
        elif body == end:
            starts[index] = first >= last_end and (new_piece or first == 0 or not space[first - 1])
            space_open = True
        else:
            # Bytes of one character share its offsets: only the first of them can start a word.
            begins = bool(at[body]) and (first >= last_end or body > first)
            starts[index] = begins and not (space_open and not new_piece and body == first)
            space_open = False
        last_end, last_piece = max(end, last_end), piece
    if len(starts):
        starts[0] = True
    return starts


def starts_words(tokens: Iterable[str], kind: str) -> NDArray[np.bool_]:
    """Whether each token of a vocabulary can start a word, by its looks.

    tokens: the vocabulary in the order of its ids; kind: the library's name of the model ('WordPiece', 'BPE', 'Unigram').
    Returns (vocabulary,) bool. After an opening quote a byte-level model starts a word without its space; such tokens
    count as continuations, as they do nearly everywhere else.
    """
    if kind == "WordPiece":
        return np.array([not token.startswith("##") or token == "##" for token in tokens], dtype=bool)
    return np.array([_looks_like_a_start(token) for token in tokens], dtype=bool)


def _looks_like_a_start(token: str) -> bool:
    first = token[:1]
    # Ġ, Ċ and ĉ are the byte-level alphabet's space, newline and tab; Chinese characters are spelled in bytes there.
    if first in ("▁", "Ġ", "Ċ", "ĉ", ""):
        return True
    return is_punctuation(first) or bool(IDEOGRAPH.match(first)) or "ä" <= first <= "é"


def _kind(character: str) -> int:
    if character.isspace():
        return _SPACE
    return _ALONE if is_punctuation(character) or IDEOGRAPH.match(character) else _OTHER
