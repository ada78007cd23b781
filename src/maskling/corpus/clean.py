"""Clean a text: encoding errors, line breaks, invisible characters, Unicode normal form, white space, wrapped lines.

What is removed or replaced is counted by kind; only runs of white space are collapsed without a count.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

from maskling.corpus.settings import CleanSettings
from maskling.corpus.wrapped_lines import join_soft_hyphens, unwrap
from maskling.errors import MissingExtra

# Kinds of changes, as they are counted and printed.
C1 = "C1 characters read as windows-1252"
REMOVED = "invisible characters removed"
SEPARATORS = "zero-width spaces and separators written as spaces"
NORMALIZED = "documents normalized"
MOJIBAKE = "documents with repaired encoding"

_LINE_BREAKS = re.compile(r"\r\n|[\r\v\x85\u2028]")
_PARAGRAPH_BREAKS = re.compile(r"[\f\x1c-\x1e\u2029]")
# Characters that nothing shows but that stand between words: in Khmer, Thai, Lao and Burmese the zero-width space is
# the space between words.
_SEPARATORS = re.compile(r"[\x00\x1f\u200b]")
# Control characters, surrogates and non-characters; direction marks, soft hyphens and byte order marks. Zero-width
# joiners stay: they carry meaning in Persian, Indic scripts and emoji.
_INVISIBLE = re.compile(
    r"[\x01-\x08\x0e-\x1b\x7f\xad\u061c\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff"
    r"\ufdd0-\ufdef\ufff9-\ufffb\ufffe\uffff\ud800-\udfff]"
)
# These control characters are next to never meant: they are bytes of windows-1252 that were decoded as Latin-1. The
# five that windows-1252 does not assign become spaces, so that no two words are joined.
_C1 = re.compile(r"[\x80-\x84\x86-\x9f]")
_WINDOWS_1252 = {code: bytes([code]).decode("cp1252", "replace").replace("\ufffd", " ") for code in range(0x80, 0xA0)}
_ANY_INVISIBLE = re.compile(f"[{''.join(pattern.pattern[1:-1] for pattern in (_SEPARATORS, _INVISIBLE, _C1))}]")
_SPACES = re.compile(r"[ \t\xa0\u1680\u2000-\u200a\u202f\u205f\u3000]+")
_LINE_ENDS = re.compile(r" ?\n ?")
_BLANK_LINES = re.compile(r"\n{3,}")


def clean(text: str, settings: CleanSettings, keep_lines: bool = False, changes: Counter[str] | None = None) -> str:
    """Return the clean text; paragraphs remain separated by one blank line, lines by a line break.

    keep_lines: line breaks are meaningful, so lines are never joined. changes: to count what is changed, by kind.
    Raises MissingExtra if ftfy is needed and not installed.
    """
    changes = Counter() if changes is None else changes
    keep_lines = keep_lines or settings.join_lines == "never" or settings.spaces == "keep"
    if settings.fix_mojibake:
        repaired = _fix_mojibake(text)
        changes[MOJIBAKE] += repaired != text
        text = repaired
    # Most texts have nothing to replace, and a search is ten times as fast as a replacement. Of line breaks, spaces
    # and invisible characters, only the space itself is printable for str.
    plain = text.replace("\n", " ").isprintable()
    if not plain and settings.invisible == "remove":
        text = _replace_invisible(text, keep_lines, changes)
    if not plain and settings.spaces == "collapse":
        text = _PARAGRAPH_BREAKS.sub("\n\n", _LINE_BREAKS.sub("\n", text))
    if settings.normal_form != "none" and not text.isascii():
        normal = unicodedata.normalize(settings.normal_form, text)
        changes[NORMALIZED] += normal != text
        text = normal
    if settings.spaces == "keep":
        return text.rstrip().lstrip("\n") if text and not text.isspace() else ""
    if not plain or "  " in text:
        text = _SPACES.sub(" ", text)
    if " \n" in text or "\n " in text:
        text = _LINE_ENDS.sub("\n", text)
    if "\n\n\n" in text:
        text = _BLANK_LINES.sub("\n\n", text)
    text = text.strip()
    return text if keep_lines else unwrap(text, changes)


def _replace_invisible(text: str, keep_lines: bool, changes: Counter[str]) -> str:
    if not _ANY_INVISIBLE.search(text):
        return text
    # Before the normal form: a mark combines with its letter only after the invisible character between them is
    # removed.
    found = len(_C1.findall(text))
    if found:
        # U+0085 is a line break in texts from mainframes, and an ellipsis beside other characters of its kind.
        changes[C1] += found + text.count("\x85")
        text = text.translate(_WINDOWS_1252)
    if not keep_lines:
        text = join_soft_hyphens(text, changes)
    text, count = _SEPARATORS.subn(" ", text)
    changes[SEPARATORS] += count
    text, count = _INVISIBLE.subn("", text)
    changes[REMOVED] += count
    return text


def _fix_mojibake(text: str) -> str:
    try:
        import ftfy
    except ImportError:
        raise MissingExtra("ftfy", "data", "corpus.clean.fix_mojibake") from None
    # Line by line, as ftfy recommends, so that one bad line does not affect the whole book.
    config = ftfy.TextFixerConfig(unescape_html=False, uncurl_quotes=False, normalization=None)
    return "".join(ftfy.fix_text(line, config) for line in text.splitlines(keepends=True))
