"""Texts to learn vectors from: pairs with a score, pairs that belong together, or nothing but text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from maskling.corpus.clean import clean
from maskling.corpus.reading import read
from maskling.corpus.report import ReadReport
from maskling.corpus.sentences import split_lines, split_sentences
from maskling.corpus.settings import CorpusSettings
from maskling.corpus.sources import expand
from maskling.data.labelled.columns import Columns, find_columns
from maskling.data.labelled.lines import Reading
from maskling.data.labelled.records import TextRecord
from maskling.data.labelled.rows import JSON_SUFFIXES, TABLE_SUFFIXES, check_unrepeated, json_rows, table_rows
from maskling.data.labelled.texts import read_texts
from maskling.errors import CorpusError, DataError

Form = Literal["scored", "pairs", "texts"]
Unit = Literal["sentence", "document"]


@dataclass(frozen=True)
class Similar:
    """form: scored, pairs with a number that says how alike they are; pairs, that belong together; texts, alone."""

    form: Form
    records: list[TextRecord]
    warnings: list[str]


def read_similar(path: str, columns: Columns, unit: Unit = "sentence", min_characters: int = 0) -> Similar:
    """Read pairs from JSON Lines or a table, or text from whatever `prepare` reads: files, folders, patterns.

    unit: what of plain text gets a vector: each sentence, or each document, which in a .txt is a line.
    min_characters: shorter pieces of text are left out, and so is what occurs again.
    Raises DataError with the file and line, or CorpusError if there is no text.
    """
    field = _single_field(path, columns)
    if field is None:
        return _pairs(path, columns)
    return _texts(path, field, unit, min_characters)


def _single_field(path: str, columns: Columns) -> str | None:
    """Where the text of each record is, None where records are pairs."""
    reading = Reading(path) if Path(path).is_file() else None
    suffix = reading.source.suffix if reading else None
    if reading is None or suffix not in (*JSON_SUFFIXES, *TABLE_SUFFIXES):
        return columns.text or "text"
    rows = json_rows(reading) if suffix in JSON_SUFFIXES else table_rows(reading, columns)
    number, row = next(rows, (0, None))
    if row is None:
        raise DataError(f"{path} has no texts in it; give a file that has some")
    found = find_columns(list(row), columns, reading.names_at(number))
    check_unrepeated(reading, found.text, found.text_pair)
    return None if found.text_pair else found.text


def _pairs(path: str, columns: Columns) -> Similar:
    found = read_texts(path, columns, numbers=True)
    scored = [record for record in found.records if record.label is not None]
    if not scored:
        return Similar("pairs", found.records, found.warnings)
    bare = next((record for record in found.records if record.label is None), None)
    if bare is not None and columns.on_bad_row == "skip":
        found = read_texts(path, columns, numbers=True, labelled=True)
    elif bare is not None:
        raise DataError(f"{bare.id} has no score, and others of its file have one; give it one, or leave it out")
    return Similar("scored", found.records, found.warnings)


def _texts(path: str, field: str, unit: Unit, min_characters: int) -> Similar:
    settings = CorpusSettings(text_field=field, plain="line" if unit == "document" else "file")
    report = ReadReport()
    records: list[TextRecord] = []
    seen: set[str] = set()
    for _, document in read(expand([path], report), settings, report):
        text = clean(document.text, settings.clean, keep_lines=document.line_sentences)
        for number, piece in enumerate(_pieces(text, document.line_sentences, unit), 1):
            if len(piece) >= min_characters and piece not in seen:
                seen.add(piece)
                records.append(TextRecord(f"{document.id}, sentence {number}", piece))
    if not records:
        raise CorpusError(f"{path} has no text of {min_characters} characters or more; give more, or other, text")
    return Similar("texts", records, report.problems())


def _pieces(text: str, line_sentences: bool, unit: Unit) -> Iterator[str]:
    several = [text] if unit == "document" else split_lines(text) if line_sentences else split_sentences(text)
    return (" ".join(piece.split()) for piece in several)
