"""The second pass: lines to paragraphs. Headings with prose below them, list items with letters, no emptied brackets.

Only lines in which something was marked up change; the others stay as they are.
"""

from __future__ import annotations

import re
from typing import Final

from maskling.corpus.wikitext.language_tables import LanguageTables, normalized
from maskling.corpus.wikitext.marks import ANY_MARK, BOLD, BOTH, GAP, ITALIC, LITERAL

_OPENING: Final = "([（【〔「『《〈"
_CLOSING: Final = ")]）】〕」』》〉"
# Spaces and separators that what was left out may leave behind.
_SEPARATORS: Final = " \t\xa0;,،؛，；、:：/·"
_AFTER_GAP: Final = re.compile(rf"[{_SEPARATORS}{GAP}]*")
_SPACES: Final = " \t\xa0\u3000"
_SPACE_RUN: Final = re.compile(rf"[{_SPACES}]*")
_ENDS: Final = frozenset(".,;:!?…)]}%。！？，、；：»”’）」』،؛؟।")
_LIST: Final = "*#:;"
_LIST_PREFIX: Final = re.compile(r"[*#:;]+[ \t\xa0]*")
_QUOTES: Final = re.compile(f"[{ITALIC}{BOLD}{BOTH}]")


def to_paragraphs(scanned: str, tables: LanguageTables) -> str:
    """Return the prose of a page that was scanned, paragraphs separated by a blank line."""
    return _Page(tables).read(scanned)


class _Page:
    """Paragraphs so far; headings that wait for prose; the level of the section that is left out, if any."""

    def __init__(self, tables: LanguageTables) -> None:
        self._tables = tables
        self._done: list[str] = []
        self._held: list[str] = []
        self._headings: list[tuple[int, str]] = []
        self._left_out = 0

    def read(self, scanned: str) -> str:
        for line in scanned.split("\n"):
            heading = _heading(line) if line.startswith("=") else None
            if heading is not None:
                self._end_paragraph()
                self._begin_section(*heading)
            elif self._left_out:
                continue
            elif not line or line.isspace():
                self._end_paragraph()
            elif line[0] in _LIST:
                self._end_paragraph()
                prefix = _LIST_PREFIX.match(line)
                text = clean_line(line[prefix.end() if prefix is not None else 0 :])
                if any(map(str.isalpha, text)):
                    self._held.append(text)
                    self._end_paragraph()
            else:
                self._add(line)
        self._end_paragraph()
        return "\n\n".join(self._done)

    def _begin_section(self, level: int, title: str) -> None:
        if self._left_out and level > self._left_out:
            return
        stops = normalized(title.strip(" :：.")) in self._tables.stop
        self._left_out = level if stops else 0
        while self._headings and self._headings[-1][0] >= level:
            self._headings.pop()
        if not stops and any(map(str.isalnum, title)):
            self._headings.append((level, title))

    def _add(self, line: str) -> None:
        if line.startswith("----") and not line.strip("-"):
            self._end_paragraph()
            return
        if ANY_MARK.search(line):
            line = clean_line(line)
            # Nothing is left of a line that was a template or a picture; it does not end the paragraph either.
            if not any(map(str.isalnum, line)):
                return
        self._held.append(line)

    def _end_paragraph(self) -> None:
        if self._held:
            self._done += [title for _, title in self._headings]
            self._headings = []
            self._done.append("\n".join(self._held).strip())
            self._held = []


def begins_heading(text: str, start: int) -> bool:
    """Return whether the line that begins here, with '=', is a heading; comments may follow it."""
    end = text.find("\n", start)
    line = text[start : end if end >= 0 else len(text)].rstrip()
    for _ in range(3):
        if line.endswith("-->"):
            line = line[: max(0, line.rfind("<!--"))].rstrip()
    return len(line) > 2 and line.endswith("=")


def _heading(line: str) -> tuple[int, str] | None:
    """Return the level and the text of a heading, or None if a line is none."""
    bare = line.replace(GAP, "").rstrip()
    if len(bare) < 3 or not bare.endswith("="):
        return None
    level = min(len(bare) - len(bare.lstrip("=")), len(bare) - len(bare.rstrip("=")), (len(bare) - 1) // 2, 6)
    return level, clean_line(bare[level : len(bare) - level]).strip()


def clean_line(line: str) -> str:
    """Return a line without marks: apostrophes resolved, brackets and spaces around gaps mended."""
    if BOLD in line or BOTH in line or ITALIC in line:
        line = _without_quotes(line)
    if GAP in line:
        line = _without_gaps(line)
    return line.replace(LITERAL, "") if LITERAL in line else line


def _without_quotes(line: str) -> str:
    """Take the runs of apostrophes out, but keep one that belongs to a word, as in l'''Italie''.

    As MediaWiki does it: where both bold and italic are left open, one run of three is an apostrophe before two.
    """
    bold = line.count(BOLD) + line.count(BOTH)
    italic = line.count(ITALIC) + line.count(BOTH)
    if bold % 2 and italic % 2 and BOLD in line:
        places = [place for place, character in enumerate(line) if character == BOLD]
        at = next((place for place in places if line[max(0, place - 2) : place - 1].isspace() or place == 1), None)
        if at is None:
            at = next((place for place in places if place and not line[place - 1].isspace()), places[0])
        line = f"{line[:at]}'{line[at + 1 :]}"
    return _QUOTES.sub("", line)


def _without_gaps(line: str) -> str:
    done: list[str] = []
    position = 0
    while (place := line.find(GAP, position)) >= 0:
        before = line[position:place].rstrip(_SEPARATORS)
        start = position + len(before)
        after = _AFTER_GAP.match(line, place)
        end = after.end() if after is not None else place + 1
        done.append(before)
        position = _mend(done, line[start:end], line, end)
    done.append(line[position:])
    return "".join(done).strip(_SPACES)


def _mend(done: list[str], gap: str, line: str, end: int) -> int:
    """Add what is left of the separators around a gap to `done`; return where the text goes on."""
    _drop_empty(done)
    last = done[-1][-1] if done else ""
    following = line[end : end + 1]
    emptied = False
    while last and last in _OPENING and following and following in _CLOSING:
        # Both brackets go, and the space before them, as far as another one is left.
        done[-1] = done[-1][:-1]
        end += 1
        emptied = True
        _drop_empty(done)
        last = done[-1][-1] if done else ""
        following = line[end : end + 1]
    if emptied:
        gap = GAP
    if not last:
        spaces = _SPACE_RUN.match(line, end)
        return spaces.end() if spaces is not None else end
    if last in _OPENING or not following or (following in _CLOSING and not emptied):
        return end
    if emptied:
        if last in _SPACES and (following in _ENDS or following in _SPACES):
            done[-1] = done[-1].rstrip(_SPACES)
        return end
    before, after = gap[: gap.index(GAP)], gap[gap.rindex(GAP) + 1 :]
    marks_before, marks_after = before.strip(_SPACES), after.strip(_SPACES)
    if marks_after:
        done.append(after.lstrip(_SPACES))
    elif marks_before:
        done.append(before if following not in _ENDS else "")
        if after and before[-1:] not in _SPACES and following not in _ENDS:
            done.append(" ")
    elif (before or after) and following not in _ENDS:
        done.append(" " if "\xa0" not in before + after else "\xa0")
    return end


def _drop_empty(done: list[str]) -> None:
    while done and not done[-1]:
        done.pop()
