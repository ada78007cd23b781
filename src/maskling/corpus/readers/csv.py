"""Readers of CSV and TSV, in the dialect of the settings or as found from the first rows."""

from __future__ import annotations

from collections.abc import Iterator

from maskling.corpus.decoding import decode, split_into_lines
from maskling.corpus.document import Document, Source
from maskling.corpus.opening import FileReport, open_bytes
from maskling.corpus.readers.fields import BETWEEN, WITHOUT_TEXT, missing, split_paths
from maskling.corpus.settings import CorpusSettings
from maskling.corpus.tables import LONGEST_FIELD, Form, check_width, find_dialect, read_rows, take_sample
from maskling.errors import CorpusError


def read_csv(source: Source, settings: CorpusSettings, report: FileReport) -> Iterator[Document]:
    """Yield a document for each row below the header; settings.text_field names the column, or several with commas.

    A number is the index of a column, from 0, of a table without a header: its first row is a document too.
    """
    return _read_table(source, settings, report, "csv")


def read_tsv(source: Source, settings: CorpusSettings, report: FileReport) -> Iterator[Document]:
    """Yield a document for each row as `read_csv` does; quotes are part of the text unless the rows need them."""
    return _read_table(source, settings, report, "tsv")


def _read_table(source: Source, settings: CorpusSettings, report: FileReport, form: Form) -> Iterator[Document]:
    with open_bytes(source, report) as stream:
        sample, lines = take_sample(split_into_lines(decode(stream, settings, report), LONGEST_FIELD))
        indices = _indices(settings.text_field)
        names = settings.id_field
        wanted = [] if indices else [*split_paths(settings.text_field), *([names] if names else [])]
        dialect = find_dialect(sample, settings.csv, form, wanted)
        id_column = int(names) if indices and names and names.isdecimal() else None
        header: list[str] = []
        for row in read_rows(lines, dialect):
            found = check_width(row, dialect, "corpus.csv")
            where = f"line {found.first:,}"
            if found.cells is None:
                report.add_fault(f"{where} {found.fault}")
                if not header and not indices:
                    raise CorpusError("has no header that can be read, so its columns are not known")
                continue
            if not indices and not header:
                header = [cell.strip() for cell in found.cells]
                indices = [_column(header, name) for name in split_paths(settings.text_field)]
                id_column = _column(header, names, "corpus.id_field") if names else None
                continue
            if header and found.cells[0].strip().lstrip("\ufeff") == header[0] and _is_header(found.cells, header):
                report.notes["lines repeat the header and are left out"] += 1
                continue
            if max([*indices, id_column or 0]) >= len(found.cells):
                report.add_fault(f"{where} has only {len(found.cells)} columns")
                continue
            text = BETWEEN.join(cell for index in indices if (cell := found.cells[index]))
            if not text:
                report.notes[WITHOUT_TEXT] += 1
            default = f"{source.name}:{found.last}"
            name = found.cells[id_column] or default if id_column is not None else default
            yield Document(text, name, source.location)


def _is_header(cells: list[str], header: list[str]) -> bool:
    return [cell.strip().lstrip("\ufeff") for cell in cells] == header


def _indices(text_field: str) -> list[int]:
    parts = split_paths(text_field)
    return [int(part) for part in parts] if all(part.isdecimal() for part in parts) else []


def _column(header: list[str], name: str, setting: str = "corpus.text_field") -> int:
    if header.count(name) > 1:
        raise CorpusError(f"has several columns named '{name}'; rename all but one of them")
    if name in header:
        return header.index(name)
    shown = [cell if len(cell) <= 40 else f"{cell[:37]}..." for cell in header]
    advice = " (to its index, from 0, if there is no header)"
    if len(header) == 1:
        advice += ", or corpus.csv.delimiter if another character separates its cells"
    raise CorpusError(f"line 1 {missing(name, shown, setting)}{advice}")
