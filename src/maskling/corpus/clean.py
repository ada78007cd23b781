"""Clean a text: encoding errors, line breaks, invisible characters, Unicode normal form, white space, wrapped lines.

Wrapped lines: plain-text books and mail are wrapped at a fixed width, but a line break always ends a sentence here, so
text left wrapped would become broken sentences. The test is the one a wrapping editor makes: a break was forced if the
first word of the next line would not have fitted. Verse, lists and tables break earlier, and are left as they are.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

from maskling.corpus.sentences import script_language
from maskling.corpus.settings import CleanSettings
from maskling.errors import MissingExtra

_LINE_BREAKS = re.compile(r"\r\n|[\r\v\x85\u2028]")
_PARAGRAPH_BREAKS = re.compile(r"[\f\x1c-\x1e\u2029]")
# Control characters, surrogates and non-characters; direction marks, soft hyphens, zero-width spaces and byte order
# marks. Zero-width joiners stay: they carry meaning in Persian, Indic scripts and emoji.
_INVISIBLE = re.compile(
    r"[\x00-\x08\x0e-\x1b\x1f\x7f-\x84\x86-\x9f\xad\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff"
    r"\ufdd0-\ufdef\ufff9-\ufffb\ufffe\uffff\ud800-\udfff]"
)
_SPACES = re.compile(r"[ \t\xa0\u1680\u2000-\u200a\u202f\u205f\u3000]+")
_LINE_ENDS = re.compile(r" ?\n ?")
_BLANK_LINES = re.compile(r"\n{3,}")


def clean(text: str, settings: CleanSettings, keep_lines: bool = False) -> str:
    """Return the clean text; paragraphs remain separated by one blank line, lines by a line break.

    keep_lines: line breaks are meaningful, so lines are never joined.
    Raises MissingExtra if ftfy is needed and not installed.
    """
    if settings.fix_mojibake:
        text = _fix_mojibake(text)
    # Most texts have nothing to replace, and a search is ten times as fast as a replacement. Of line breaks, spaces
    # and invisible characters, only the space itself is printable for str.
    plain = text.replace("\n", " ").isprintable()
    if not plain:
        text = _LINE_BREAKS.sub("\n", text)
        text = _PARAGRAPH_BREAKS.sub("\n\n", text)
        # Before the normal form: a mark combines with its letter only after the invisible character between them is
        # removed.
        text = _INVISIBLE.sub("", text)
    if settings.normal_form != "none" and not text.isascii():
        text = unicodedata.normalize(settings.normal_form, text)
    if settings.spaces == "keep":
        return text.rstrip().lstrip("\n")
    if not plain or "  " in text:
        text = _SPACES.sub(" ", text)
    if " \n" in text or "\n " in text:
        text = _LINE_ENDS.sub("\n", text)
    if "\n\n\n" in text:
        text = _BLANK_LINES.sub("\n\n", text)
    text = text.strip()
    if settings.join_lines == "auto" and not keep_lines:
        text = unwrap(text)
    return text


def _fix_mojibake(text: str) -> str:
    try:
        import ftfy
    except ImportError:
        raise MissingExtra("ftfy", "data", "corpus.clean.fix_mojibake") from None
    # Line by line, as ftfy recommends, so that one bad line does not affect the whole book.
    config = ftfy.TextFixerConfig(unescape_html=False, uncurl_quotes=False, normalization=None)
    return "".join(ftfy.fix_text(line, config) for line in text.splitlines(keepends=True))


_NARROWEST, _WIDEST = 40, 100
_FEWEST_BREAKS = 4
_FORCED_SHARE = 0.6


def unwrap(text: str) -> str:
    """Join lines at forced breaks if most line breaks inside paragraphs are forced; else return the text unchanged."""
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
    joined = [lines[0]]
    for line, below in pairwise(lines):
        joined.append(" " if line and below and _forced(line, below, width) else "\n")
        joined.append(below)
    return "".join(joined)


def _forced(line: str, below: str, width: int) -> bool:
    word = len(below.split(" ", 1)[0])
    return len(line) + 1 + word > width - 1 and word <= width // 2
