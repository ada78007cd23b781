"""Rows of text tables (CSV, TSV) in any dialect: what separates and quotes cells is found from the first rows.

A row is given whole or named as faulty, never in part: cells too many or too few, quotes inside a cell that are neither
doubled nor escaped, and quotes that are never closed are faults of their row, and reading continues after it.
"""

from __future__ import annotations

import csv
import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, product
from typing import Any, Final, Literal, NamedTuple

from pydantic import Field, field_validator

from maskling.config import Settings
from maskling.console import agreeing

Form = Literal["csv", "tsv"]
LONGEST_FIELD: Final = 1 << 28
# The dialect is found from so many characters, at least.
SAMPLE_CHARACTERS: Final = 1 << 19
_DELIMITERS: Final = ",;\t|"
_NAMED: Final = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "space": " "}
_SHOWN: Final = {"\t": "a tab", " ": "a space"}
# The first line of a file for Excel, which is no row: 'sep=;'.
_SEPARATOR: Final = re.compile(r'\ufeff?"?sep=([^\w"])"?[^\w"]*\n?', re.IGNORECASE)
# A cell over so many lines that nearly all look like rows is one whose quote was not closed.
_MANY_LINES: Final = 24
_NEARLY_ALL: Final = 0.9


class TableSettings(Settings):
    """The dialect of CSV and TSV files."""

    delimiter: str = Field(
        "auto",
        description="what separates cells: one character, or tab, comma, semicolon, pipe, space; 'none': one column; "
        "'auto': found from the first rows",
    )
    quote: str = Field(
        "auto",
        description="what encloses cells: one character, or 'none'; 'auto': \" in CSV, found from the rows in TSV",
    )
    escape: str = Field(
        "auto",
        description="what precedes a quote inside a cell that is not doubled: one character, or 'none'; 'auto': \\ "
        "where the first rows show it (MySQL)",
    )

    @field_validator("delimiter", "quote", "escape")
    @classmethod
    def _one_character(cls, value: str) -> str:
        value = _NAMED.get(value.lower(), value)
        if len(value) != 1 and value not in ("auto", "none"):
            raise ValueError("give one character, or 'auto'")
        if value in ("\n", "\r"):
            raise ValueError("a line break ends a row; give another character")
        return value


@dataclass(frozen=True)
class Dialect:
    """How a table is written. delimiter: None for a single column; quote, escape: None where there is none.

    width: cells of a row, None if not known. numeric: the columns that are numbers in nearly all of the first rows.
    spaced: a space after a delimiter is no part of the cell.
    """

    delimiter: str | None = ","
    quote: str | None = '"'
    escape: str | None = None
    width: int | None = None
    numeric: frozenset[int] = frozenset()
    spaced: bool = False


class Row(NamedTuple):
    """One row. first, last: its lines, from 1; cells: None if it is faulty, for which `fault` is the reason."""

    first: int
    last: int
    cells: list[str] | None = None
    fault: str = ""


@dataclass(frozen=True)
class Sample:
    """The first lines of a table.

    cut: there are more, so the last row may not be whole. delimiter: the one that a first line 'sep=;' names.
    """

    lines: list[str]
    cut: bool
    delimiter: str | None = None


def take_sample(lines: Iterator[str]) -> tuple[Sample, Iterator[str]]:
    """Return the first lines of a table, to find its dialect, and all of its lines.

    A line 'sep=;' for Excel becomes an empty line, so that later lines keep their numbers.
    """
    first: list[str] = []
    size = 0
    named = None
    for line in lines:
        if not first and (found := _SEPARATOR.fullmatch(line)):
            named, line = found[1], "\n"
        first.append(line)
        size += len(line)
        if size >= SAMPLE_CHARACTERS:
            return Sample(first, True, named), chain(first, lines)
    return Sample(first, False, named), iter(first)


def find_dialect(sample: Sample, settings: TableSettings, form: Form, wanted: Sequence[str] = ()) -> Dialect:
    """Return the dialect of a table. wanted: names that its header should have; none if it has no header.

    Of the possible dialects, the one is taken with which the header has these names, then the one with the fewest
    faulty rows.
    """
    header = next((line for line in sample.lines if line.strip()), "")
    if settings.delimiter != "auto":
        delimiters = [_unless_none(settings.delimiter)]
    elif sample.delimiter is not None:
        delimiters = [sample.delimiter]
    else:
        delimiters = [mark for mark in (_DELIMITERS if form == "csv" else "\t,;|") if mark in header] or [None]
    if settings.quote != "auto":
        quotes = [_unless_none(settings.quote)]
    else:
        quotes = ['"'] if form == "csv" else [None, '"']
    escapes = [None if settings.escape == "auto" else _unless_none(settings.escape)]
    if settings.escape == "auto" and any('\\"' in line for line in sample.lines):
        escapes.append("\\")
    possible = [Dialect(*one) for one in product(delimiters, quotes, escapes)]
    possible += [replace(one, spaced=True) for one in possible if _has_spaced_quotes(sample, one)]
    dialect = (
        min(possible, key=lambda one: _cost(one, sample, wanted, len(quotes) > 1)) if len(possible) > 1 else possible[0]
    )
    rows = [row.cells for row in _sample_rows(sample, dialect) if row.cells is not None]
    width = _width(rows, wanted)
    body = [row for row in rows[bool(wanted) :] if len(row) == width]
    numeric = {
        at for at in range(width) if body and sum(_is_number(row[at]) for row in body) >= _NEARLY_ALL * len(body)
    }
    return replace(dialect, width=width or None, numeric=frozenset(numeric))


def read_rows(lines: Iterable[str], dialect: Dialect) -> Iterator[Row]:
    r"""Yield the rows of a table given as lines with their '\n'; empty lines between rows are skipped."""
    # The limit belongs to the module, not to a reader; the default of 128 KiB is shorter than a chapter.
    csv.field_size_limit(LONGEST_FIELD)
    feed = _Feed(lines, dialect)
    held: Row | None = None
    for row in feed.rows():
        if held is not None:
            # Without quotes a line break in a cell leaves an open quote on one line, and too few cells on the next.
            if row.cells is not None and dialect.width is not None and len(row.cells) < dialect.width:
                held = Row(held.first, held.last, None, _LOOSE_QUOTE)
            yield held
            held = None
        if dialect.quote is None and row.cells and any(_opens_quote(cell) for cell in row.cells):
            held = row
            continue
        yield row
    if held is not None:
        yield held


def check_width(row: Row, dialect: Dialect, setting: str) -> Row:
    """Return the row, or a faulty one if it has another number of cells than the table. setting: of the dialect."""
    if row.cells is None or dialect.width is None or len(row.cells) == dialect.width:
        return row
    count, width = len(row.cells), dialect.width
    if count > width and not any(map(str.strip, row.cells[width:])):
        return row._replace(cells=row.cells[:width])  # separators at the end of a line
    mark = _SHOWN.get(dialect.delimiter or "", f"'{dialect.delimiter}'")
    if count > width:
        advice = f"; put quotes around cells that hold {mark}, or set {setting}.delimiter"
    else:
        advice = f"; they are separated by {mark} (see {setting}.delimiter)" if count == 1 else ""
    return Row(row.first, row.last, None, f"has {count} columns, and the table has {width}{advice}")


_BAD_QUOTE: Final = "has a quote inside a cell that is neither doubled nor escaped, or a cell whose quote is not closed"
_LOOSE_QUOTE: Final = "begins a cell with a quote and goes on in the next line"
_UNCLOSED: Final = "opens a quote that is not closed: the following lines look like rows"


class _BadQuoteError(Exception):
    """A row is not well-formed. lines: it is given up after so many of its lines."""


class _Feed:
    """Lines on their way into the csv module, of which those of the current row can be given once more."""

    def __init__(self, lines: Iterable[str], dialect: Dialect) -> None:
        self._lines, self._again = iter(lines), deque[str]()
        self._dialect = dialect
        self._row: list[str] = []
        self._line = 0
        self._characters = 0

    def rows(self) -> Iterator[Row]:
        dialect = self._dialect
        # A character that no text has stands in for a delimiter where there is one column.
        how: dict[str, Any] = {"delimiter": dialect.delimiter or "\x1f", "strict": True, "escapechar": dialect.escape}
        how["skipinitialspace"] = dialect.spaced
        if dialect.quote is None:
            how |= {"quoting": csv.QUOTE_NONE}
        else:
            how |= {"quotechar": dialect.quote}
        reader = csv.reader(self, **how)
        doubtful = False
        while True:
            self._row, first, self._characters = [], self._line + 1, 0
            try:
                cells = next(reader, None)
                if cells is None:
                    return
                if len(self._row) >= _MANY_LINES and self._looks_like_rows(self._row[1:]):
                    raise _BadQuoteError(_UNCLOSED)
            except (csv.Error, _BadQuoteError) as error:
                doubtful = doubtful or len(self._row) > 1
                yield self._give_up(first, error)
                reader = csv.reader(self, **how)
                continue
            if doubtful and cells:
                # What follows may be the rest of a cell; a row has numbers where the table has them.
                doubtful = not all(at < len(cells) and _is_number(cells[at]) for at in dialect.numeric)
                if doubtful:
                    yield Row(first, self._line, None, _BAD_QUOTE)
                    continue
            if cells:
                yield Row(first, self._line, [self._plain(cell) for cell in cells] if dialect.escape else cells)

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._lines)
        self._line += 1
        self._row.append(line)
        count = len(self._row)
        if count >= _MANY_LINES and count & (count - 1) == 0 and self._looks_like_rows(self._row[1:]):
            raise _BadQuoteError(_UNCLOSED)
        escape = self._dialect.escape
        return _keep_backslashes(line, self._dialect) if escape and escape in line else line

    def _give_up(self, first: int, error: Exception) -> Row:
        """Return the row as faulty, and give those of its lines once more that are rows of their own."""
        rest = self._row[1:]
        if not self._looks_like_rows(rest):
            # The line on which the error shows may be a good row, whose first quote seemed to close an open one.
            rest = rest[-1:] if self._looks_like_rows(rest[-1:]) else []
        self._again.extendleft(reversed(rest))
        self._line -= len(rest)
        if "field larger" in str(error):
            fault = f"has a cell of more than {LONGEST_FIELD:,} characters"
        else:
            fault = str(error) if isinstance(error, _BadQuoteError) else _BAD_QUOTE
        left = self._line - first
        after = f"; {agreeing(left, 'lines after it are left out')}" if left else ""
        return Row(first, self._line, None, fault + after)

    def _looks_like_rows(self, lines: Sequence[str]) -> bool:
        """Return whether nearly all lines have the width of the table, and numbers where it has them."""
        dialect, lines = self._dialect, [line for line in lines if line.strip()]
        if not lines or (dialect.width or 0) < 2 or dialect.delimiter is None:
            return False
        good = 0
        for line in lines:
            cells = line.rstrip("\n").split(dialect.delimiter)
            width = len(cells) == dialect.width or (dialect.quote is not None and dialect.quote in line)
            good += width and all(column < len(cells) and _is_number(cells[column]) for column in dialect.numeric)
        return good >= _NEARLY_ALL * len(lines)

    def _plain(self, cell: str) -> str:
        return "" if cell == "\\N" else cell  # MySQL's null


def _keep_backslashes(line: str, dialect: Dialect) -> str:
    r"""Double every escape that precedes an ordinary character, as in C:\new, so that it is kept."""
    escape = dialect.escape or ""
    special = {dialect.quote, dialect.delimiter, escape, "\n"}
    return re.sub(
        re.escape(escape) + r"(.|\n|$)",
        lambda found: found[0] if found[1] in special else escape + found[0],
        line,
    )


def _cost(dialect: Dialect, sample: Sample, wanted: Sequence[str], choose_quote: bool) -> tuple[float, ...]:
    """Return how badly a dialect fits the first rows: less is better."""
    found = _sample_rows(sample, dialect)
    rows = [row.cells for row in found if row.cells is not None]
    width = _width(rows, wanted)
    header = [cell.strip() for cell in rows[0]] if rows else []
    lacking = sum(name not in header for name in wanted)
    faults = len(found) - sum(len(row) == width for row in rows)
    if sample.cut and faults and (found[-1].cells is None or len(found[-1].cells) != width):
        faults -= 1  # it goes on after the sample
    unlikely = False
    if choose_quote:
        evidence = _is_quoted([row.cells for row in _sample_rows(sample, replace(dialect, quote=None)) if row.cells])
        unlikely = evidence == (dialect.quote is None)
    loose = not dialect.spaced and _has_spaced_quotes(sample, dialect)
    return lacking, width < 2, faults / max(1, len(found)), unlikely, loose, dialect.escape is not None


def _has_spaced_quotes(sample: Sample, dialect: Dialect) -> bool:
    """Return whether a cell of the first lines is in quotes and has a space before them, as in '1, "a, b"'.

    The names in the header have it too: within a quoted cell, anything may look like that.
    """
    if dialect.quote is None or dialect.delimiter in (None, " "):
        return False
    header = next((line for line in sample.lines if line.strip()), "")
    names = header.split(dialect.delimiter)[1:]
    if not names or not all(name.startswith(" ") for name in names):
        return False
    mark, quote = re.escape(dialect.delimiter or ""), re.escape(dialect.quote)
    spaced = re.compile(f"{mark} +{quote}(?:[^{quote}]|{quote}{quote})*{quote} *(?:{mark}|$)")
    return any(dialect.quote in line and spaced.search(line.rstrip("\n")) for line in sample.lines)


def _sample_rows(sample: Sample, dialect: Dialect) -> list[Row]:
    return list(read_rows(sample.lines[:-1] if sample.cut and len(sample.lines) > 1 else sample.lines, dialect))


def _width(rows: Sequence[Sequence[str]], wanted: Sequence[str]) -> int:
    """Return the number of cells of the header, or of most rows if there is none."""
    if wanted or not rows:
        return len(rows[0]) if rows else 0
    return Counter(map(len, rows)).most_common(1)[0][0]


def _is_quoted(rows: Sequence[Sequence[str]]) -> bool:
    """Return whether rows that were read without quotes have cells that must be quoted ones."""
    if rows and any(_is_wrapped(cell) for cell in rows[0]):
        return True
    for cell in chain.from_iterable(rows):
        if _is_wrapped(cell) and '""' in cell[1:-1] and '"' not in cell[1:-1].replace('""', ""):
            return True
    width = min(map(len, rows), default=0)
    return len(rows) > 1 and any(all(_is_wrapped(row[column]) for row in rows[1:]) for column in range(width))


def _is_wrapped(cell: str) -> bool:
    return len(cell) > 1 and cell[0] == cell[-1] == '"'


def _opens_quote(cell: str) -> bool:
    """Return whether a cell that was read without quotes begins with one that is not closed in it."""
    return cell.startswith('"') and cell.count('"') % 2 == 1


def _is_number(cell: str) -> bool:
    try:
        float(cell.strip().strip('"') or "0")
    except ValueError:
        return False
    return True


def _unless_none(value: str) -> str | None:
    return None if value == "none" else value
