"""Data for similarity training: pairs with a score, pairs that belong together, or text alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from maskling.corpus.clean import clean
from maskling.corpus.opening import ReadReport
from maskling.corpus.reading import read_documents
from maskling.corpus.sentences import split_lines, split_sentences
from maskling.corpus.settings import CorpusSettings
from maskling.corpus.sources import expand
from maskling.data.labelled.arrow_rows import ARROW_SUFFIXES, arrow_rows
from maskling.data.labelled.columns import Columns, find_columns
from maskling.data.labelled.reader import read_records
from maskling.data.labelled.records import TextRecord
from maskling.data.labelled.tables import (
    JSON_SUFFIXES,
    TABLE_SUFFIXES,
    OpenFile,
    check_unrepeated,
    json_rows,
    table_rows,
)
from maskling.errors import CorpusError, DataError

SimilarityForm = Literal["scored", "pairs", "texts"]
Unit = Literal["sentence", "document"]


@dataclass(frozen=True)
class SimilarityFile:
    """The records of a file, and a line for each problem in it.

    form: 'scored', pairs with a similarity score; 'pairs', pairs that belong together; 'texts', text alone.
    """

    form: SimilarityForm
    records: list[TextRecord]
    warnings: list[str]


def read_similar(path: str, columns: Columns, unit: Unit = "sentence", min_characters: int = 0) -> SimilarityFile:
    """Read pairs from JSON Lines or a table, or text from anything that `prepare` reads: files, folders, patterns.

    unit: of plain text, what gets a vector: each sentence, or each document, which is a line in a .txt.
    min_characters: shorter pieces of text are left out, and so are repeated ones.
    Raises DataError with the file and line, or CorpusError if there is no text.
    """
    text_field = _single_text_field(path, columns)
    if text_field is None:
        return _read_pairs(path, columns)
    return _read_texts(path, text_field, unit, min_characters)


def _single_text_field(path: str, columns: Columns) -> str | None:
    """Return the name of the text field, None if records are pairs."""
    file = OpenFile(path) if Path(path).is_file() else None
    suffix = file.source.suffix if file else None
    if file is None or suffix not in (*JSON_SUFFIXES, *TABLE_SUFFIXES, *ARROW_SUFFIXES):
        return columns.text or "text"
    tables = table_rows(file, columns) if suffix in TABLE_SUFFIXES else arrow_rows(file)
    rows = json_rows(file) if suffix in JSON_SUFFIXES else tables
    number, row = next(rows, (0, None))
    if row is None:
        raise DataError(f"{path} has no records; give a file that has some")
    found = find_columns(list(row), columns, file.names_at(number))
    check_unrepeated(file, found.text, found.text_pair)
    return None if found.text_pair else found.text


def _read_pairs(path: str, columns: Columns) -> SimilarityFile:
    found = read_records(path, "regress", columns, labels="optional")
    if all(record.label is None for record in found.records):
        return SimilarityFile("pairs", found.records, found.warnings)
    unscored = next((record for record in found.records if record.label is None), None)
    if unscored is not None and columns.on_bad_row == "skip":
        found = read_records(path, "regress", columns)
    elif unscored is not None:
        raise DataError(
            f"{unscored.id} has no score, but other records of its file have one; add it, or remove the row"
        )
    both = next((record for record in found.records if record.negatives), None)
    if both is not None:
        raise DataError(
            f"{both.id} has a score and a hard negative, but hard negatives are compared with pairs without scores; "
            f"leave out the column of scores or that of negatives"
        )
    return SimilarityFile("scored", found.records, found.warnings)


def _read_texts(path: str, text_field: str, unit: Unit, min_characters: int) -> SimilarityFile:
    settings = CorpusSettings(text_field=text_field, plain="line" if unit == "document" else "file")
    report = ReadReport()
    # A dict keeps the order of first occurrence.
    records: dict[str, TextRecord] = {}
    for _, document in read_documents(expand([path], report), settings, report):
        text = clean(document.text, settings.clean, keep_lines=document.line_sentences)
        for number, piece in enumerate(_pieces(text, document.line_sentences, unit), 1):
            if len(piece) >= min_characters and piece not in records:
                records[piece] = TextRecord(f"{document.id}, sentence {number}", piece)
    if not records:
        raise CorpusError(f"{path} has no text of {min_characters} characters or more; give more, or other, text")
    return SimilarityFile("texts", list(records.values()), report.problems())


def _pieces(text: str, line_sentences: bool, unit: Unit) -> Iterator[str]:
    several = [text] if unit == "document" else split_lines(text) if line_sentences else split_sentences(text)
    return (" ".join(piece.split()) for piece in several)
