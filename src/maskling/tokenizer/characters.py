"""Character classes: white space, word by itself (punctuation, Chinese character), or part of a word.

Word segmentation of Chinese is for whole-word masking only; token ids never depend on it.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable
from importlib.util import find_spec
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from maskling.errors import MissingExtra
from maskling.tokenizer.settings import ChineseWords

# Unicode's White_Space property, as the tokenizers library uses it. Python's str.isspace adds U+001C to U+001F.
SPACES: Final = (
    "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
# The ranges that BertNormalizer puts spaces around. Its second-last range starts at 2B920, Google's BERT has 2B820;
# we follow the library, because ids must be the library's.
IDEOGRAPHS: Final = (
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0002a6df\U0002a700-\U0002b81f\U0002b920-\U0002ceaf\U0002f800-\U0002fa1f"
)
IDEOGRAPH: Final = re.compile(f"[{IDEOGRAPHS}]")
IDEOGRAPH_RUN: Final = re.compile(f"[{IDEOGRAPHS}]+")

PART: Final = 0
SPACE: Final = 1
ALONE: Final = 2
_UNKNOWN: Final = 255  # not classified yet
_KINDS: Final = np.full(0x110000, _UNKNOWN, dtype=np.uint8)


def is_punctuation(character: str) -> bool:
    """Return whether BERT treats a character as punctuation: any ASCII mark or symbol, and Unicode categories P*."""
    code = ord(character)
    if code < 128:
        return 33 <= code <= 47 or 58 <= code <= 64 or 91 <= code <= 96 or 123 <= code <= 126
    return unicodedata.category(character).startswith("P")


def character_kind(character: str) -> int:
    """Return SPACE, ALONE (a punctuation mark or a Chinese character) or PART (of a word)."""
    if character in SPACES or character == "\u200b":  # the zero-width space separates words
        return SPACE
    return ALONE if is_punctuation(character) or IDEOGRAPH.match(character) else PART


def character_kinds(text: str) -> NDArray[np.uint8]:
    """Return the kind of each character, (len(text),) uint8: SPACE, ALONE or PART."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    found: NDArray[np.uint8] = _KINDS[codes]
    if (found == _UNKNOWN).any():
        for code in np.unique(codes[found == _UNKNOWN]).tolist():
            _KINDS[code] = character_kind(chr(code))
        found = _KINDS[codes]
    return found


def character_word_starts(text: str, jieba: bool) -> NDArray[np.bool_]:
    """Return whether a word starts at each character, (len(text),) bool; False on white space.

    jieba: segment runs of Chinese characters into dictionary words; otherwise each character is a word.
    """
    kind_of = character_kinds(text)
    word_start: NDArray[np.bool_] = kind_of != SPACE
    word_start[1:] &= (kind_of[1:] == ALONE) | (kind_of[:-1] != PART)
    if jieba:
        for run in IDEOGRAPH_RUN.finditer(text):
            word_start[run.start() : run.end()] = False
            position = run.start()
            for word in segment_chinese(run.group()):
                word_start[position] = True
                position += len(word)
    return word_start


def looks_chinese(text: str) -> bool:
    """Guess quickly whether a text has Chinese characters; affects the speed of encoding, never its result."""
    # One of these is in every Chinese or Japanese text of a sentence or more.
    return not text.isascii() and (
        "，" in text or "。" in text or "、" in text or "的" in text or "の" in text or "一" in text
    )


def resolve_chinese_words(wanted: ChineseWords) -> Literal["jieba", "characters"]:
    """Resolve 'auto' to 'jieba' if rjieba is installed, else to 'characters'.

    Raises MissingExtra for 'jieba' if rjieba is not installed.
    """
    if wanted == "characters":
        return "characters"
    # Only look for the package: importing it takes as long as opening a model.
    if _installed():
        return "jieba"
    if wanted == "jieba":
        raise MissingExtra("rjieba", "data", "tokenizer.chinese_words = 'jieba'")
    return "characters"


def segment_chinese(run: str) -> list[str]:
    """Segment a run of Chinese characters into words of jieba's dictionary; the words concatenate to `run`."""
    words = _segmenter()(run)
    return words if sum(map(len, words)) == len(run) else list(run)


def _installed() -> bool:
    return find_spec("rjieba") is not None


@functools.cache
def _segmenter() -> Callable[[str], list[str]]:
    import rjieba

    cut: Callable[[str], list[str]] = rjieba.cut
    return cut
