"""Join the lines of text that a program wrapped at a fixed width, and the words that it hyphenated there.

Plain-text books and mail are wrapped, but a line break always ends a sentence here, so text left wrapped would become
broken sentences. A break is taken back if the first word of the next line would not have fitted, which is the test
that a wrapping editor makes. Verse, lists and tables break earlier. Records of one width (log lines, sequences) and
sentences of about equal length pass that test too, so the text must also read on from line to line, and have sentences
that end.
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise

from maskling.corpus.sentences import script_language

# Kinds of changes, as they are counted and printed.
JOINED = "wrapped lines joined"
HYPHENS = "hyphenated words joined"

_NARROWEST, _WIDEST = 40, 100
_FEWEST_BREAKS = 4
_FORCED_SHARE = 0.6
# Of the line breaks of prose, two in three or more stand within a sentence, before a small letter.
_CONTINUED_SHARE = 0.4
_SENTENCE_END = tuple(".!?:;…。！？।॥۔؟։។")
_ENDED = re.compile(r"[.!?…।۔؟։។][\"'”’»)\]]*(?:\s|\Z)")
_SOFT_HYPHEN = re.compile(r"\xad[ \t]*\r?\n[ \t]*")
_HYPHEN = re.compile(r"([^\W\d_]+)[-\u2010]\Z")
_FIRST_PART = re.compile(r"[^\W\d_]+")
_DIVIDED = re.compile(r"[^\W\d_]+[-\u2010]\n[^\W\d_]+")
_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
_NEARLY_FULL = 0.7


def join_soft_hyphens(text: str, changes: Counter[str]) -> str:
    """Join words that are divided at a line end by a soft hyphen, which nothing but hyphenation writes."""
    if "\xad" not in text:
        return text
    text, count = _SOFT_HYPHEN.subn("", text)
    changes[HYPHENS] += count
    return text


def unwrap(text: str, changes: Counter[str] | None = None) -> str:
    """Join lines at forced breaks if the text is clearly wrapped prose; else return the text unchanged."""
    if "\n" not in text:
        return text
    lines = text.split("\n")
    inner = [(line, below) for line, below in pairwise(lines) if line and below]
    if len(inner) < _FEWEST_BREAKS:
        return text
    lengths = sorted(len(line) for line in lines if line)
    # The width is near the longest line; the longest two per cent may be tables or long addresses.
    width = lengths[int(0.98 * (len(lengths) - 1))]
    if not _NARROWEST <= width <= _WIDEST or script_language(text) != "en":
        return text
    if sum(_forced(line, below, width) for line, below in inner) < _FORCED_SHARE * len(inner):
        return text
    if sum(_continued(line, below) for line, below in inner) < _CONTINUED_SHARE * len(inner) or not _ENDED.search(text):
        return text
    changes = Counter() if changes is None else changes
    words = _Words(text)
    joined = [lines[0]]
    for line, below in pairwise(lines):
        if not line or not below or not _forced(line, below, width):
            joined.append("\n")
        else:
            changes[JOINED] += 1
            match words.at_break(line, below):
                case "joined":
                    changes[HYPHENS] += 1
                    joined[-1] = joined[-1][:-1]
                case "apart":
                    joined.append(" ")
        joined.append(below)
    return "".join(joined)


def _forced(line: str, below: str, width: int) -> bool:
    if line[-1] in "-\u2010" and below[0].islower() and _HYPHEN.search(line):
        return len(line) >= _NEARLY_FULL * width  # the rest of the word may be short
    word = len(below.split(" ", 1)[0])
    return len(line) + 1 + word > width - 1 and word <= width // 2


def _continued(line: str, below: str) -> bool:
    """Return whether a sentence seems to read on: it has not ended, and what follows is no capital, digit or sign."""
    return not line.rstrip("\"'”’»)]").endswith(_SENTENCE_END) and below[0].isalpha() and not below[0].isupper()


class _Words:
    """Decides about words at a line end by the words of the whole text, which are collected when first needed."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._words: frozenset[str] | None = None

    def at_break(self, line: str, below: str) -> str:
        """Return what a line break becomes: 'apart' (a space), 'joined' (no hyphen) or 'kept' (the hyphen stays)."""
        if line[-1] not in "-\u2010":
            return "apart"
        first = _HYPHEN.search(line)
        second = _FIRST_PART.match(below)
        if first is None or second is None:
            return "apart"
        if self._words is None:
            whole = _DIVIDED.sub(" ", self._text.lower())
            self._words = frozenset(_WORD.findall(whole))
        one, two = first[1].lower(), second[0].lower()
        if one + two in self._words:
            return "joined"
        # A compound that was divided at its own hyphen is known, or its parts are words.
        compound = f"{one}-{two}" in self._words or (one in self._words and two in self._words)
        return "kept" if compound or not second[0].islower() else "joined"
