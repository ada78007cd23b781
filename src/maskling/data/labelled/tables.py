"""Labelled files as lines and as rows with named fields: JSON Lines, JSON lists, CSV, TSV and standard input.

Files may be compressed. Every error names the file and the line.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import orjson

from maskling.corpus.decoding import decode, split_into_lines
from maskling.corpus.document import Source
from maskling.corpus.opening import READ_ERRORS, FileReport, open_bytes
from maskling.corpus.settings import CorpusSettings
from maskling.data.labelled.columns import Columns
from maskling.errors import CorpusError, DataError

Fields = Mapping[str, Any]
"""One row: a value per column name."""

JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")
TABLE_SUFFIXES = (".csv", ".tsv", ".tab")

# Longer lines are refused or split; the field limit of the csv module is set to the same.
MAX_LINE_LENGTH = 1 << 28
# Bytes read from standard input at once.
_STDIN_BLOCK = 1 << 16


class BadRowError(Exception):
    """A row that cannot be used. The message follows 'train.jsonl:3 '."""


@dataclass
class OpenFile:
    """A labelled file while it is read, and what was wrong with it.

    path: as the user gave it, '-' for standard input. skip: leave bad rows out and report them in `warnings`.
    header_line: of a table with a header. repeated: names that several columns of a table share.
    """

    path: str
    skip: bool = False
    warnings: list[str] = field(default_factory=list)
    bad_rows: int = 0
    first_fault: str = ""
    header_line: int | None = None
    repeated: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if Path(self.path).is_dir():
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
            raise DataError(f"{self.path}: none of its {self.bad_rows:,} rows could be read: {self.first_fault}")
        if not num_records:
            raise DataError(f"{self.path} has no records; give a file that has some")
        if self.bad_rows:
            self.warnings.append(f"{self.bad_rows:,} rows left out, the first because {self.first_fault}")


def lines(file: OpenFile) -> Iterator[tuple[int, str]]:
    """Yield line numbers from 1 and lines without line ends. Raises DataError if the file cannot be read."""
    report = FileReport(file.path)
    with _as_data_errors(file.path), open_bytes(file.source) as stream:
        for number, line in enumerate(split_into_lines(decode(stream, CorpusSettings(), report), MAX_LINE_LENGTH), 1):
            yield number, line.removesuffix("\n")
    if report.read_as:
        file.warnings.append(f"{file.path} was read as {report.read_as}; save it as UTF-8 if that is wrong")
    if report.replaced_bytes:
        file.warnings.append(f"{file.path}: {report.replaced_bytes:,} bytes were not UTF-8 and were replaced")


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

    Raises DataError for anything else, unless bad rows are skipped.
    """
    if file.source.suffix == ".json":
        text = read_whole(file)
        if text.lstrip()[:1] == "[":
            yield from _list_rows(file, text)
            return
        numbered: Iterator[tuple[int, str]] = iter(enumerate(text.split("\n"), 1))
    else:
        numbered = lines(file)
    for number, line in numbered:
        if not line or line.isspace():
            continue
        try:
            row = parse_json_row(line)
        except BadRowError as error:
            file.fault(number, str(error))
        else:
            yield number, row


def _list_rows(file: OpenFile, text: str) -> Iterator[tuple[int, Fields]]:
    try:
        items = parse_json(text)
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
    if not isinstance(row, Mapping):
        raise BadRowError("is not an object with fields")
    return row


def table_rows(file: OpenFile, columns: Columns) -> Iterator[tuple[int, Fields]]:
    """Yield the rows of a table with the number of their (last) line.

    In TSV a quote is an ordinary character, as in GLUE's files. CSV has quotes, and is separated by ';' or tabs if its
    first line has those and no comma. The first line is a header unless `columns` are indices. Of columns with the
    same name the last is kept; see `check_unrepeated`.
    Raises DataError for a row of another length than the header, unless bad rows are skipped.
    """
    # The limit belongs to the module, not to a reader; the default of 128 KiB is shorter than a chapter.
    csv.field_size_limit(MAX_LINE_LENGTH)
    numbered = lines(file)
    first = next(numbered, None)
    if first is None:
        return

    def text() -> Iterator[str]:
        yield first[1].replace("\0", "") + "\n"
        for _, line in numbered:
            yield line.replace("\0", "") + "\n"

    if file.source.suffix == ".csv":
        delimiter = next((mark for mark in ",;\t" if mark in first[1]), ",")
        rows = csv.reader(text(), delimiter=delimiter, strict=True)
    else:
        rows = csv.reader(text(), delimiter="\t", quoting=csv.QUOTE_NONE)
    given = [name for name in (columns.text, columns.text_pair, columns.negative, columns.label) if name is not None]
    header = None if given and all(name.isdecimal() for name in given) else [""]
    try:
        for row in rows:
            if not row:
                continue
            if header == [""]:
                header = [name.strip() for name in row]
                file.header_line = rows.line_num
                file.repeated = frozenset(name for name, count in Counter(header).items() if count > 1)
                continue
            if header is not None and len(row) != len(header):
                file.fault(rows.line_num, f"has {len(row)} columns, and the header has {len(header)}")
                continue
            yield rows.line_num, dict(zip(header or map(str, range(len(row))), row, strict=True))
    except csv.Error as error:
        raise DataError(f"{file.path}:{rows.line_num} is not a row of a table: {error}") from None


def check_unrepeated(file: OpenFile, *used: str | None) -> None:
    """Raise DataError if several columns of a table have a name that is used: the choice would be arbitrary."""
    repeated = next((name for name in used if name in file.repeated), None)
    if repeated is not None:
        raise DataError(f"{file.path} has several columns named '{repeated}'; rename all but one of them")


@contextlib.contextmanager
def _as_data_errors(path: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file") from None
    except CorpusError as error:
        # Where a corpus setting would help, here only another encoding of the file does.
        reason = str(error)
        message = f"{reason.partition(';')[0]}; save it as UTF-8 text" if "corpus." in reason else reason
        raise DataError(f"{path} {message}") from None
    except READ_ERRORS as error:
        reason = f"cannot be read: {error.strerror}" if isinstance(error, OSError) and error.strerror else "is damaged"
        raise DataError(f"{path} {reason}") from None
