"""Join the lines of text that was wrapped at a fixed width, as plain-text books and mail are.

A line break always ends a sentence for us, so text left wrapped would be a heap of broken
sentences. The test is the one a wrapping editor makes: a break was forced if the first word of
the next line would not have fitted. Verse, lists and tables break earlier, and are left alone.
"""

from __future__ import annotations

from itertools import pairwise

from maskling.corpus.sentences import script_language

_NARROWEST, _WIDEST = 40, 100
_FEWEST_BREAKS = 4
_FORCED_SHARE = 0.6


def unwrap(text: str) -> str:
    """Join forced breaks if most of the line breaks inside paragraphs are forced; else return the text as it is."""
    if "\n" not in text:
        return text
    lines = text.split("\n")
    inner = [(line, below) for line, below in pairwise(lines) if line and below]
    if len(inner) < _FEWEST_BREAKS:
        return text
    lengths = sorted(len(line) for line in lines if line)
    # The width is near the longest line; the last few in a hundred may be tables or long addresses.
    width = lengths[int(0.98 * (len(lengths) - 1))]
    if not _NARROWEST <= width <= _WIDEST or script_language(text) != "en":
        return text
    if sum(_forced(line, below, width) for line, below in inner) < _FORCED_SHARE * len(inner):
        return text
    joined = [lines[0]]
    for line, below in pairwise(lines):
        joined.append(" " if line and below and _forced(line, below, width) else "\n")
        joined.append(below)
    return "".join(joined)


def _forced(line: str, below: str, width: int) -> bool:
    word = len(below.split(" ", 1)[0])
    return len(line) + 1 + word > width - 1 and word <= width // 2
