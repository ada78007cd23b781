"""Where a person would put spaces between the words of a sentence."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from maskling.tokenizer.chinese import IDEOGRAPHS

# Scripts that are written without spaces: Chinese characters, kana, and the marks that go with them.
_UNSPACED = re.compile(f"[{IDEOGRAPHS}\u3000-\u30ff\uff00-\uffef]")


def spaces_before(words: Sequence[str]) -> list[bool]:
    """Whether a space stands before each word: not before the first, nor between words of Chinese or Japanese."""
    if not words:
        return []
    return [False, *(not (_unspaced(left[-1:]) and _unspaced(right[:1])) for left, right in pairwise(words))]


def joined(words: Sequence[str]) -> tuple[str, list[int]]:
    """The sentence that words make, and the character each begins at."""
    text, begins = "", []
    for word, space in zip(words, spaces_before(words), strict=True):
        text += " " if space else ""
        begins.append(len(text))
        text += word
    return text, begins


def _unspaced(character: str) -> bool:
    return _UNSPACED.match(character) is not None
