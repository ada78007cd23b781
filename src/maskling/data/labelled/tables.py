"""Labelled files as lines and as rows with named fields: JSON Lines, JSON, CSV, TSV, Parquet, Arrow, standard input.

Files may be compressed. Every error names the file and the line.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any, cast

import orjson

from maskling.console import agreeing
from maskling.corpus.decoding import decode, split_into_lines
from maskling.corpus.document import Source
from maskling.corpus.opening import READ_ERRORS, FileReport, open_bytes
from maskling.corpus.settings import CorpusSettings
from maskling.corpus.tables import Dialect, Form, Row, Sample, check_width, find_dialect, read_rows, take_sample
from maskling.data.labelled.columns import Columns
from maskling.errors import CorpusError, DataError

Fields = Mapping[str, Any]
"""One row: a value per column name."""

JSON_SUFFIXES = (".jsonl", ".ndjson", ".jsonlines", ".json")
TABLE_SUFFIXES = (".csv", ".tsv", ".tab")

# Longer lines are refused or split.
MAX_LINE_LENGTH = 1 << 28
# Bytes read from standard input at once.
_STDIN_BLOCK = 1 << 16


class BadRowError(Exception):
    """A row that cannot be used. The message follows 'train.jsonl:3 '."""


@dataclass
class OpenFile:
    """A labelled file while it is read, and what was wrong with it.

    path: as the user gave it, '-' for standard input. skip: leave bad rows out and report them in `warnings`.
    folder: of files that belong together. unit: what is left out, in messages. header_line: of a table with a header.
    repeated: names that several columns of a table share. label_names: the names of numbered labels by column, where
    the file has them.
    """

    path: str
    skip: bool = False
    encoding: str = "auto"
    folder: bool = False
    unit: str = "rows"
    warnings: list[str] = field(default_factory=list)
    bad_rows: int = 0
    first_fault: str = ""
    header_line: int | None = None
    repeated: frozenset[str] = frozenset()
    label_names: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if Path(self.path).is_dir() and not self.folder:
            raise DataError(f"{self.path} is a folder; name the file in it")

    @property
    def source(self) -> Source:
        """The file as the corpus readers open it."""
        return Source(self.path)

    @property
    def is_json(self) -> bool:
        """Whether the rows are JSON objects; standard input counts as JSON Lines."""
        return self.source.suffix in JSON_SUFFIXES or self.path == "-"

    @property
    def name(self) -> str:
        """The prefix of record ids."""
        return "stdin" if self.path == "-" else self.source.name

    def names_at(self, line: int) -> str:
        """Return where the column names for the row at `line` are written."""
        return f"{self.path}:{self.header_line or line}"

    def fault(self, line: int | str, message: str) -> None:
        """Raise DataError for a bad row, or count it if bad rows are skipped."""
        text = f"{self.path}:{line} {message}"
        if not self.skip:
            raise DataError(f"{text}; correct it, or leave such rows out with columns.on_bad_row skip")
        self.bad_rows += 1
        self.first_fault = self.first_fault or text

    def finish(self, num_records: int) -> None:
        """Report skipped rows. Raises DataError if there are no records."""
        if not num_records and self.bad_rows:
            raise DataError(f"{self.path}: none of its {self.bad_rows:,} {self.unit} could be read: {self.first_fault}")
        if not num_records:
            raise DataError(f"{self.path} has no records; give a file that has some")
        if self.bad_rows:
            self.warnings.append(f"{self.bad_rows:,} {self.unit} left out, the first because {self.first_fault}")


def lines(file: OpenFile) -> Iterator[tuple[int, str]]:
    """Yield line numbers from 1 and lines without line ends. Raises DataError if the file cannot be read."""
    report, settings = FileReport(file.path), CorpusSettings(encoding=file.encoding)
    with as_data_errors(file.path), open_bytes(file.source) as stream:
        for number, line in enumerate(split_into_lines(decode(stream, settings, report), MAX_LINE_LENGTH), 1):
            yield number, line.removesuffix("\n")
    if report.read_as:
        file.warnings.append(
            f"{file.path} was read as {report.read_as}; if that is wrong, set columns.encoding, or save it as UTF-8"
        )
    if report.replaced_bytes:
        file.warnings.append(
            f"{file.path}: {agreeing(report.replaced_bytes, 'bytes were not UTF-8 and were replaced')}; name its "
            "encoding with columns.encoding"
        )


def read_whole(file: OpenFile) -> str:
    """Return the text of a file. Raises DataError if it cannot be read."""
    return "\n".join(line for _, line in lines(file))


def stdin_lines() -> Iterator[list[tuple[int, str]]]:
    """Yield the lines of standard input with their numbers from 1, as many at once as have arrived.

    So a prediction does not wait for the next input. Raises DataError for a line that is not UTF-8 or does not end.
    """
    if sys.stdin is None:
        raise DataError("standard input is closed; give a file")
    stream, rest, number = cast(io.BufferedReader, sys.stdin.buffer), b"", 0
    while True:
        # Not `read`, which would wait until the block is full.
        block = stream.read1(_STDIN_BLOCK)
        *ended, rest = (rest + block).split(b"\n") if block else [rest, b""]
        arrived = []
        for raw in ended:
            number += 1
            try:
                arrived.append((number, raw.decode("utf-8-sig" if number == 1 else "utf-8").removesuffix("\r")))
            except UnicodeDecodeError as error:
                raise DataError(f"standard input, line {number:,}, is not UTF-8 (byte {error.start:,})") from None
        yield arrived
        if not block:
            return
        if len(rest) > MAX_LINE_LENGTH:
            raise DataError(f"standard input, line {number + 1:,}, does not end; put one text on each line")


def parse_json(text: str) -> Any:
    """Parse JSON, including NaN and lone surrogates, which Python and JavaScript write. Raises ValueError."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def parse_json_row(line: str) -> Fields:
    """Parse a line as a JSON object. Raises BadRowError."""
    try:
        row = parse_json(line)
    except ValueError as error:
        raise BadRowError(f"is not JSON ({error})") from None
    return _as_object(row)


def json_rows(file: OpenFile) -> Iterator[tuple[int, Fields]]:
    """Yield JSON objects, one per line or the items of one list, with their line number or index from 1.

    In .json, the list may also be the value of one key ({"data": [...]}), or the file may be a single object.
    Raises DataError for anything else, unless bad rows are skipped.
    """
    numbered = lines(file)
    first = next(((number, line) for number, line in numbered if line and not line.isspace()), (1, ""))
    if file.source.suffix == ".json" or (first[1].lstrip()[:1] == "[" and file.path != "-"):
        text = "\n".join([first[1], *(line for _, line in numbered)])
        rows = _list_in(text)
        on_lines = rows is None and (first[1].lstrip()[:1] != "[" or len(_list_in(first[1]) or ()) == 1)
        if not on_lines:
            yield from _list_rows(file, text, rows)
            return
        numbered = enumerate(text.split("\n")[1:], first[0] + 1)
    for number, line in chain((first,), numbered):
        if not line or line.isspace():
            continue
        try:
            row = parse_json_row(line)
        except BadRowError as error:
            file.fault(number, str(error))
        else:
            yield number, row


def _list_in(text: str) -> list[Any] | None:
    """Return the rows of a file that is one JSON value; None for JSON Lines, and for what is not JSON."""
    try:
        value = parse_json(text)
    except ValueError:
        return None
    if isinstance(value, dict):
        lists = [rows for rows in value.values() if isinstance(rows, list) and rows and isinstance(rows[0], dict)]
        return lists[0] if len(value) <= 2 and len(lists) == 1 else [value]
    if not isinstance(value, list):
        return None
    return value if _beside_text(value) is None else [value]


def _list_rows(file: OpenFile, text: str, items: list[Any] | None) -> Iterator[tuple[int, Fields]]:
    if items is None:
        try:
            items = [parse_json(text)]
        except ValueError as error:
            raise DataError(f"{file.path} is not JSON ({error})") from None
    for number, item in enumerate(items, 1):
        try:
            row = _as_object(item)
        except BadRowError as error:
            file.fault(number, str(error))
        else:
            yield number, row


def _as_object(row: Any) -> Fields:
    found = row if isinstance(row, Mapping) else _beside_text(row)
    if found is None:
        raise BadRowError("is not an object with fields")
    return found


def _beside_text(row: Any) -> Fields | None:
    """Return the fields of a row of spaCy, a text and an object: `["Ann left", {"entities": [[0, 3, "PER"]]}]`."""
    match row:
        case [str(text), {"entities": _} as others]:
            return {**others, "text": text}
    return None


def table_rows(file: OpenFile, columns: Columns) -> Iterator[tuple[int, Fields]]:
    """Yield the rows of a table with the number of their (last) line.

    The dialect is that of the settings, else found from the first rows as in `maskling.corpus.tables`; in TSV a quote
    is an ordinary character, as in GLUE's files, unless the rows need quotes. The first line is a header unless
    `columns` are indices. Of columns with the same name the last is kept; see `check_unrepeated`.
    Raises DataError for a row of another length than the header, unless bad rows are skipped.
    """
    given = columns.given
    indices = bool(given) and all(name.isdecimal() for name in given)
    sample, text = take_sample(line.replace("\0", "") + "\n" for _, line in lines(file))
    tabbed = all("\t" in line for line in sample.lines if line.strip())
    form: Form = "csv" if file.source.suffix == ".csv" and not tabbed else "tsv"
    dialect = _dialect(sample, columns, form, [] if indices else [name for name in given if not name.isdecimal()])
    header: list[str] | None = None
    if not indices:
        first = next(iter(read_rows(sample.lines, dialect)), None)
        dialect = replace(dialect, width=len(first.cells) if first and first.cells else None)
    repeats = 0
    for row in read_rows(text, dialect):
        if indices and row.cells is not None and dialect.delimiter == "\t":
            yield row.last, dict(zip(map(str, range(len(row.cells))), row.cells, strict=True))
            continue
        checked = check_width(row, dialect, "columns")
        if checked.cells is None:
            file.fault(row.first, checked.fault)
            if header is None and not indices:
                raise DataError(f"{file.path}:{row.first} is not a header of columns: it {checked.fault}")
            continue
        if header is None and not indices:
            header = _header(file, checked)
            continue
        if header is not None and [cell.strip() for cell in checked.cells] == header:
            repeats += 1
            continue
        yield row.last, dict(zip(header or map(str, range(len(checked.cells))), checked.cells, strict=True))
    if repeats:
        file.warnings.append(f"{file.path}: {agreeing(repeats, 'lines repeat the header and are left out')}")


def _header(file: OpenFile, row: Row) -> list[str]:
    header = [name.strip() for name in row.cells or ()]
    file.header_line = row.last
    file.repeated = frozenset(name for name, count in Counter(header).items() if count > 1)
    return header


def _dialect(sample: Sample, columns: Columns, form: Form, wanted: list[str]) -> Dialect:
    """Return the dialect of a table. Where two separators fit, it is not the one that prose has: with a space after it.

    wanted: names that the header has.
    """
    found = find_dialect(sample, columns, form, wanted)
    lines = [line for line in sample.lines[:-1] or sample.lines if line.strip()]
    if columns.delimiter != "auto" or wanted or found.delimiter is None:
        return found
    if not all(re.search(f"{re.escape(found.delimiter)} ", line) for line in lines):
        return found
    for mark in ",;\t|":
        if mark != found.delimiter and all(mark in line and f"{mark} " not in line for line in lines):
            other = find_dialect(sample, columns.model_copy(update={"delimiter": mark}), form, wanted)
            rows = [row.cells for row in read_rows(lines, other)]
            if None not in rows and len({len(cells or ()) for cells in rows}) == 1:
                return other
    return found


def check_unrepeated(file: OpenFile, *used: str | None) -> None:
    """Raise DataError if several columns of a table have a name that is used: the choice would be arbitrary."""
    repeated = next((name for name in used if name in file.repeated), None)
    if repeated is not None:
        raise DataError(f"{file.path} has several columns named '{repeated}'; rename all but one of them")


@contextlib.contextmanager
def as_data_errors(path: str) -> Iterator[None]:
    """Raise errors of reading a file as DataError."""
    try:
        yield
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file") from None
    except CorpusError as error:
        # Where a corpus setting would help, here only another encoding of the file does.
        reason = str(error)
        name = "; save it as UTF-8 text, or name its encoding with columns.encoding"
        message = f"{reason.partition(';')[0]}{name}" if "corpus." in reason else reason
        raise DataError(f"{path} {message}") from None
    except READ_ERRORS as error:
        reason = f"cannot be read: {error.strerror}" if isinstance(error, OSError) and error.strerror else "is damaged"
        raise DataError(f"{path} {reason}") from None
