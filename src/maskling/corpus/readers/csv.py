"""Readers of CSV (with quotes) and TSV (without)."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import Any

from maskling.corpus.decoding import decode, split_into_lines
from maskling.corpus.document import Document, Source
from maskling.corpus.opening import FileReport, open_bytes
from maskling.corpus.readers.fields import missing
from maskling.corpus.settings import CorpusSettings
from maskling.errors import CorpusError

_LONGEST_FIELD = 1 << 28


def read_csv(source: Source, settings: CorpusSettings, report: FileReport) -> Iterator[Document]:
    """Yield a document for each row below the header; settings.text_field is the name of the column or its index.

    An index, counted from 0, means that there is no header: the first row is a document too.
    """
    return _read_table(source, settings, report, delimiter=",")


def read_tsv(source: Source, settings: CorpusSettings, report: FileReport) -> Iterator[Document]:
    """Yield a document for each row as `read_csv` does, but every line is a row and quotes have no special meaning."""
    return _read_table(source, settings, report, delimiter="\t", quoting=csv.QUOTE_NONE)


def _read_table(source: Source, settings: CorpusSettings, report: FileReport, **dialect: Any) -> Iterator[Document]:
    # The limit belongs to the module, not to a reader; the default of 128 KiB is shorter than a chapter.
    csv.field_size_limit(_LONGEST_FIELD)
    with open_bytes(source, report) as stream:
        # The csv module rejects lines with zero characters, which may occur after the first block; they are dropped.
        lines = (line.replace("\0", "") for line in split_into_lines(decode(stream, settings, report), _LONGEST_FIELD))
        rows = csv.reader(lines, **dialect)
        try:
            text_column: int | None = None
            id_column: int | None = None
            if settings.text_field.isdecimal():
                text_column = int(settings.text_field)
                id_column = int(settings.id_field) if settings.id_field and settings.id_field.isdecimal() else None
            for row in rows:
                if not row:
                    continue
                if text_column is None:
                    text_column = _column(row, settings.text_field)
                    id_column = _column(row, settings.id_field) if settings.id_field else None
                    continue
                if len(row) <= max(text_column, id_column or 0):
                    report.add_fault(f"line {rows.line_num:,} has only {len(row)} columns")
                    continue
                name = row[id_column] if id_column is not None else f"{source.name}:{rows.line_num}"
                yield Document(row[text_column], name, source.location)
        except csv.Error as error:
            raise CorpusError(f"line {rows.line_num:,} is not a row of a table: {error}") from None


def _column(header: list[str], name: str) -> int:
    names = [cell.strip() for cell in header]
    if name not in names:
        raise CorpusError(f"line 1 {missing(name, names)} (to its index, from 0, if there is no header)")
    return names.index(name)
