"""Rows with named columns, from JSON Lines, a JSON list, CSV and TSV."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from maskling.data.labelled.columns import Columns
from maskling.data.labelled.lines import LONGEST_LINE, Reading, lines, parse_json, whole
from maskling.errors import DataError

Row = Mapping[str, Any]
JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")
TABLE_SUFFIXES = (".csv", ".tsv", ".tab")


def json_rows(reading: Reading) -> Iterator[tuple[int, Row]]:
    """Objects, one a line, or those of one list, with the number of the line or of the place in the list.

    Raises DataError for what is neither, unless it is to be skipped.
    """
    for number, row in _objects(reading):
        if isinstance(row, Mapping):
            yield number, row
        else:
            reading.fault(number, "is no object with fields")


def _objects(reading: Reading) -> Iterator[tuple[int, Any]]:
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


def table_rows(reading: Reading, columns: Columns) -> Iterator[tuple[int, Row]]:
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


def check_unrepeated(reading: Reading, *used: str | None) -> None:
    """Raises DataError if several columns of a table bear a name that is used: which is meant cannot be known."""
    twice = next((name for name in used if name in reading.repeated), None)
    if twice is not None:
        raise DataError(f"{reading.path} has several columns named '{twice}'; rename all but the one that is meant")
