"""What kind each character of a text is: white space, a word by itself, or part of a word."""

from __future__ import annotations

import unicodedata
from typing import Final

import numpy as np
from numpy.typing import NDArray

from maskling.tokenizer.chinese import IDEOGRAPH, RUN, segment

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
