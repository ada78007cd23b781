"""The lines of a labelled file, wherever it is and however it is compressed; every fault names the file."""

from __future__ import annotations

import contextlib
import csv
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from maskling.corpus.decoding import decode, split_into_lines
from maskling.corpus.document import Source
from maskling.corpus.opening import READ_ERRORS, FileReport, open_bytes
from maskling.corpus.settings import CorpusSettings
from maskling.data.labelled.columns import Columns
from maskling.errors import CorpusError, DataError

# FOLDED DOCS
# [rows] Rows with named columns, from JSON Lines, a JSON list, CSV and TSV.


# A line longer than this is no line; the field limit of the csv module is set to the same.
LONGEST_LINE = 1 << 28


@dataclass
class OpenFile:
    """A file that is being read.

    path: as the person named it, '-' for standard input. skip: leave bad rows out, and say so in `warnings`.
    header_line: of a table that has a header. repeated: names that several columns of a table have.
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
        """What the corpus readers open."""
        return Source(self.path)

    @property
    def name(self) -> str:
        """What records are named after."""
        return "stdin" if self.path == "-" else self.source.name

    def names_at(self, number: int) -> str:
        """Where the names of columns stand that the row of line `number` goes by."""
        return f"{self.path}:{self.header_line or number}"

    def fault(self, number: int | str, message: str) -> None:
        """Raise DataError for a bad row, or count it where bad rows are to be skipped."""
        said = f"{self.path}:{number} {message}"
        if not self.skip:
            raise DataError(f"{said}; mend it, or leave such rows out with columns.on_bad_row skip")
        self.bad_rows += 1
        self.first_fault = self.first_fault or said

    def finish(self, records: int, what: str) -> None:
        """Say what was skipped. Raises DataError if there are no records."""
        if not records and self.bad_rows:
            raise DataError(f"{self.path}: none of its {self.bad_rows:,} rows could be read: {self.first_fault}")
        if not records:
            raise DataError(f"{self.path} has no {what} in it; give a file that has some")
        if self.bad_rows:
            self.warnings.append(f"{self.bad_rows:,} rows left out, the first because {self.first_fault}")


def lines(reading: OpenFile) -> Iterator[tuple[int, str]]:
    """The lines of a file with their numbers from 1, without line ends. Raises DataError if it cannot be read."""
    report = FileReport(reading.path)
    with _faults(reading.path), open_bytes(reading.source) as stream:
        for number, line in enumerate(split_into_lines(decode(stream, CorpusSettings(), report), LONGEST_LINE), 1):
            yield number, line.removesuffix("\n")
    if report.replaced_bytes:
        reading.warnings.append(f"{reading.path}: {report.replaced_bytes:,} bytes were no UTF-8 and were replaced")


def whole(reading: OpenFile) -> str:
    """All of a file. Raises DataError if it cannot be read."""
    return "\n".join(line for _, line in lines(reading))


def parse_json(text: str) -> Any:
    """JSON, NaN and halves of surrogate pairs included, which Python and JavaScript write. Raises ValueError."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


@contextlib.contextmanager
def _faults(path: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file") from None
    except CorpusError as error:
        # What corpus settings could mend, only another encoding of the file can mend here.
        reason = str(error)
        what = f"{reason.partition(';')[0]}; save it as UTF-8 text" if "corpus." in reason else reason
        raise DataError(f"{path} {what}") from None
    except READ_ERRORS as error:
        reason = f"cannot be read: {error.strerror}" if isinstance(error, OSError) and error.strerror else "is damaged"
        raise DataError(f"{path} {reason}") from None


Row = Mapping[str, Any]
JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")
TABLE_SUFFIXES = (".csv", ".tsv", ".tab")


def json_rows(reading: OpenFile) -> Iterator[tuple[int, Row]]:
    """Objects, one a line, or those of one list, with the number of the line or of the place in the list.

    Raises DataError for what is neither, unless it is to be skipped.
    """
    for number, row in _objects(reading):
        if isinstance(row, Mapping):
            yield number, row
        else:
            reading.fault(number, "is no object with fields")


def _objects(reading: OpenFile) -> Iterator[tuple[int, Any]]:
    if reading.source.suffix == ".json":
        text = whole(reading)
        if text.lstrip()[:1] == "[":
            try:
                yield from enumerate(parse_json(text), 1)
            except ValueError as error:
                raise DataError(f"{reading.path} is not JSON ({error})") from None
            return
        numbered: Iterator[tuple[int, str]] = iter(enumerate(text.split("\n"), 1))
    else:
        numbered = lines(reading)
    for number, line in numbered:
        if not line or line.isspace():
            continue
        try:
            row = parse_json(line)
        except ValueError as error:
            reading.fault(number, f"is not JSON ({error})")
        else:
            yield number, row


def table_rows(reading: OpenFile, columns: Columns) -> Iterator[tuple[int, Row]]:
    """Rows of a table with the number of their (last) line.

    In TSV a quote is a character like any other, as in GLUE's files; CSV has quotes, and ';' or tabs between its
    columns where its first line has those and no comma. The first line is a header, unless `columns` go by number.
    Of columns of one name the last is kept; see `check_unrepeated`.
    Raises DataError for a row of another length than the header, unless it is to be skipped.
    """
    # The limit belongs to the module, not to a reader; the default of 128 KiB is shorter than a chapter.
    csv.field_size_limit(LONGEST_LINE)
    numbered = lines(reading)
    first = next(numbered, None)
    if first is None:
        return

    def text() -> Iterator[str]:
        yield first[1].replace("\0", "") + "\n"
        for _, line in numbered:
            yield line.replace("\0", "") + "\n"

    if reading.source.suffix == ".csv":
        delimiter = next((mark for mark in ",;\t" if mark in first[1]), ",")
        rows = csv.reader(text(), delimiter=delimiter, strict=True)
    else:
        rows = csv.reader(text(), delimiter="\t", quoting=csv.QUOTE_NONE)
    said = [name for name in (columns.text, columns.text_pair, columns.negative, columns.label) if name is not None]
    header = None if said and all(name.isdecimal() for name in said) else [""]
    try:
        for row in rows:
            if not row:
                continue
            if header == [""]:
                header = [name.strip() for name in row]
                reading.header_line = rows.line_num
                reading.repeated = frozenset(name for name, count in Counter(header).items() if count > 1)
                continue
            if header is not None and len(row) != len(header):
                reading.fault(rows.line_num, f"has {len(row)} columns, and the header has {len(header)}")
                continue
            yield rows.line_num, dict(zip(header or map(str, range(len(row))), row, strict=True))
    except csv.Error as error:
        raise DataError(f"{reading.path}:{rows.line_num} is not a row of a table: {error}") from None


def check_unrepeated(reading: OpenFile, *used: str | None) -> None:
    """Raises DataError if several columns of a table bear a name that is used: which is meant cannot be known."""
    twice = next((name for name in used if name in reading.repeated), None)
    if twice is not None:
        raise DataError(f"{reading.path} has several columns named '{twice}'; rename all but the one that is meant")
