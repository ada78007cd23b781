"""Texts and pairs of texts with their labels, from the files people have."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from maskling.corpus.clean import clean
from maskling.corpus.opening import ReadReport
from maskling.corpus.reading import read_documents
from maskling.corpus.sentences import split_lines, split_sentences
from maskling.corpus.settings import CorpusSettings
from maskling.corpus.sources import expand
from maskling.data.labelled.columns import ColumnMatch, Columns, find_columns, no_label_column
from maskling.data.labelled.records import Label, TextRecord
from maskling.data.labelled.tables import (
    JSON_SUFFIXES,
    TABLE_SUFFIXES,
    OpenFile,
    Row,
    check_unrepeated,
    json_rows,
    lines,
    table_rows,
)
from maskling.errors import CorpusError, DataError

# FOLDED DOCS
# [similar] Texts to learn vectors from: pairs with a score, pairs that belong together, or nothing but text.


_WRITTEN_AS_FLOAT = re.compile(r"-?\d+\.0")


@dataclass(frozen=True)
class Texts:
    """records: what a file holds, in its order; warnings: a line for each thing that was wrong with it."""

    records: list[TextRecord]
    warnings: list[str]


def read_texts(path: str, columns: Columns | None = None, *, numbers: bool = False, labelled: bool = False) -> Texts:
    """Read JSON Lines (.jsonl, .ndjson, .json), tables (.csv, .tsv), or one text a line (.txt); compressed or not.

    '-' is standard input, JSON Lines. numbers: labels are numbers, not names. labelled: a row without a label is a bad
    one; else records may have none.
    Raises DataError with the file and line.
    """
    columns = columns or Columns()
    reading = OpenFile(path, columns.on_bad_row == "skip")
    if labelled and reading.source.suffix == ".txt":
        raise DataError(f"{path}: lines of a .txt are texts without labels; give .jsonl, .csv or .tsv")
    records: list[TextRecord] = []
    found: ColumnMatch | None = None
    for number, row in _rows(reading, columns):
        try:
            # Fields of JSON may differ from row to row; the first says which are meant.
            if found is None or (labelled and found.label is None):
                found = find_columns(list(row), columns, reading.names_at(number))
                check_unrepeated(reading, found.text, found.text_pair, found.label, found.negative)
                if labelled and found.label is None and not _is_json(reading):
                    raise DataError(f"{reading.names_at(number)} {no_label_column(list(row))}")
            label = _label(row, found.label, columns.separator, numbers)
            if labelled and label is None:
                raise _BadRowError(_without_label(row, found.label, numbers))
            records.append(
                TextRecord(
                    id=f"{reading.name}:{number}",
                    text=_text(row, found.text),
                    text_pair=_text(row, found.text_pair) if found.text_pair else None,
                    label=label,
                    negative=_negative(row, found.negative, columns.negative is not None),
                )
            )
        except _BadRowError as error:
            reading.fault(number, str(error))
    reading.finish(len(records), "texts")
    return Texts(_without_zeros(records), reading.warnings)


def _without_zeros(records: list[TextRecord]) -> list[TextRecord]:
    """Labels of which all are written as 1.0, as pandas does where some are missing, by the name JSON's 1.0 has."""
    labels = [record.label for record in records if record.label is not None]
    if not all(isinstance(label, str) and _WRITTEN_AS_FLOAT.fullmatch(label) for label in labels):
        return records
    return [
        replace(record, label=record.label.removesuffix(".0")) if isinstance(record.label, str) else record
        for record in records
    ]


class _BadRowError(Exception):
    """The message goes on after 'train.jsonl:3 '."""


def _rows(reading: OpenFile, columns: Columns) -> Iterator[tuple[int, Row]]:
    suffix = reading.source.suffix
    if _is_json(reading):
        return json_rows(reading)
    if suffix in TABLE_SUFFIXES:
        return table_rows(reading, columns)
    if suffix == ".txt":
        return ((number, {"text": line}) for number, line in lines(reading) if line and not line.isspace())
    known = ", ".join((*JSON_SUFFIXES, *TABLE_SUFFIXES, ".txt"))
    what = f"files that end in '{suffix}'" if suffix else "files without an ending"
    raise DataError(f"{reading.path}: {what} are not read; give one of {known}, compressed or not")


def _is_json(reading: OpenFile) -> bool:
    return reading.source.suffix in JSON_SUFFIXES or reading.path == "-"


def _text(row: Row, name: str) -> str:
    value = row.get(name)
    if not isinstance(value, str):
        raise _BadRowError(f"has {_kind(value)} for the text in '{name}'")
    return value


def _negative(row: Row, name: str | None, asked_for: bool) -> str | None:
    value = row.get(name) if name is not None else None
    if value is None or value == "" or (not isinstance(value, str) and not asked_for):
        return None
    return _text(row, str(name))


def _label(row: Row, name: str | None, separator: str | None, numbers: bool) -> Label:
    value = row.get(name) if name is not None else None
    if value is None or (isinstance(value, str) and not value.strip()):
        return () if value is not None and separator else None
    if _is_undecided(value, name):
        return None
    if numbers:
        return _number(value, name)
    if separator and isinstance(value, str):
        return tuple(part.strip() for part in value.split(separator) if part.strip())
    if isinstance(value, list):
        return tuple(_name(part, name) for part in value)
    return _name(value, name)


def _is_undecided(value: Any, column: str | None) -> bool:
    """Whether it is SNLI's and MultiNLI's mark for pairs on which those who labelled them did not agree."""
    return value == "-" and column == "gold_label"


def _without_label(row: Row, column: str | None, numbers: bool) -> str:
    if column is None:
        return no_label_column(list(row))
    if _is_undecided(row.get(column), column):
        return f"has '-' in '{column}': those who labelled it did not agree, and so it has no label"
    return f"has no {'number' if numbers else 'label'} in '{column}'"


def _name(value: Any, column: str | None) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return value.strip()
        case int():
            return str(value)
        case float() if value.is_integer():
            return str(int(value))
        case _:
            raise _BadRowError(f"has {_kind(value)} for a label in '{column}'; to learn numbers, use regress")


def _number(value: Any, column: str | None) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise _BadRowError(f"has {value!r} in '{column}', and a number is needed")
    return number


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    kinds = {bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return kinds.get(type(value), f"a {type(value).__name__}")


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
    reading = OpenFile(path) if Path(path).is_file() else None
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
    for _, document in read_documents(expand([path], report), settings, report):
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
