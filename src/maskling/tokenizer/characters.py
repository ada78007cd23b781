"""What kind each character of a text is: white space, a word by itself, or part of a word."""

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

# FOLDED DOCS
# [chinese] Chinese characters, and the words they make (for whole-word masking; ids never depend on it).


# Unicode's White_Space, which is what the library goes by. Python's str.isspace has U+001C to U+001F besides.
SPACES: Final = (
    "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)

PART: Final = 0
SPACE: Final = 1
ALONE: Final = 2
_NOT_ASKED_YET: Final = 255
_KINDS: Final = np.full(0x110000, _NOT_ASKED_YET, dtype=np.uint8)


def is_punctuation(character: str) -> bool:
    """BERT's definition: every ASCII mark (the symbols too), and the Unicode categories P."""
    code = ord(character)
    if code < 128:
        return 33 <= code <= 47 or 58 <= code <= 64 or 91 <= code <= 96 or 123 <= code <= 126
    return unicodedata.category(character).startswith("P")


def kind(character: str) -> int:
    """SPACE, ALONE (a mark of punctuation or a Chinese character) or PART (of a word)."""
    if character in SPACES:
        return SPACE
    return ALONE if is_punctuation(character) or IDEOGRAPH.match(character) else PART


def kinds(text: str) -> NDArray[np.uint8]:
    """The kind of each character. Returns (len(text),) uint8."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    found: NDArray[np.uint8] = _KINDS[codes]
    if (found == _NOT_ASKED_YET).any():
        for code in np.unique(codes[found == _NOT_ASKED_YET]).tolist():
            _KINDS[code] = kind(chr(code))
        found = _KINDS[codes]
    return found


def starts(text: str, jieba: bool) -> NDArray[np.bool_]:
    """Whether a word starts at each character. Returns (len(text),) bool; False on white space.

    jieba: cut runs of Chinese characters into dictionary words, not into characters.
    """
    these = kinds(text)
    found: NDArray[np.bool_] = these != SPACE
    found[1:] &= (these[1:] == ALONE) | (these[:-1] != PART)
    if jieba:
        for run in RUN.finditer(text):
            found[run.start() : run.end()] = False
            place = run.start()
            for word in segment(run.group()):
                found[place] = True
                place += len(word)
    return found


# What BertNormalizer puts spaces around. Its second-last range starts at 2B920 where Google's BERT has 2B820;
# we follow the library, because ids must be the library's.
IDEOGRAPHS: Final = (
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0002a6df\U0002a700-\U0002b81f\U0002b920-\U0002ceaf\U0002f800-\U0002fa1f"
)
IDEOGRAPH: Final = re.compile(f"[{IDEOGRAPHS}]")
RUN: Final = re.compile(f"[{IDEOGRAPHS}]+")

Segment = Callable[[str], list[str]]


def looks_chinese(text: str) -> bool:
    """A fast guess whether a text has Chinese characters; decides how fast it is encoded, never what comes out."""
    # One of these is in every Chinese or Japanese text of a sentence or more.
    return not text.isascii() and (
        "，" in text or "。" in text or "、" in text or "的" in text or "の" in text or "一" in text
    )


def resolve_words(wanted: ChineseWords) -> Literal["jieba", "characters"]:
    """'auto' as 'jieba' where rjieba is installed, else 'characters'. Raises MissingExtra for 'jieba' without it."""
    if wanted == "characters":
        return "characters"
    # Only looked for: to import it takes as long as to open a model.
    if _installed():
        return "jieba"
    if wanted == "jieba":
        raise MissingExtra("rjieba", "data", "tokenizer.chinese_words = 'jieba'")
    return "characters"


def segment(run: str) -> list[str]:
    """The words of a run of Chinese characters by jieba's dictionary: pieces that join to `run`."""
    words = _segmenter()(run)
    return words if sum(map(len, words)) == len(run) else list(run)


def _installed() -> bool:
    return find_spec("rjieba") is not None


@functools.cache
def _segmenter() -> Segment:
    import rjieba

    cut: Segment = rjieba.cut
    return cut
