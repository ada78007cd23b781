"""Sentences of tagged words, from columns of words and tags (CoNLL) or JSON Lines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

from maskling.data.labelled.columns import (
    TAG_HEADERS,
    WORD_HEADERS,
    ColumnMatch,
    Columns,
    find_word_columns,
    no_label_column,
)
from maskling.data.labelled.records import TaggedRecord
from maskling.data.labelled.tables import JSON_SUFFIXES, OpenFile, Row, json_rows, lines
from maskling.errors import DataError


@dataclass(frozen=True)
class Sentences:
    """records: what a file holds, in its order; warnings: a line for each thing that was wrong with it."""

    records: list[TaggedRecord]
    warnings: list[str]


def read_tagged(path: str, columns: Columns | None = None, *, labelled: bool = False) -> Sentences:
    """Read columns of words and tags with a blank line after each sentence, or JSON Lines with lists of both.

    In columns the first is the word and the last its tag, or whatever numbers, from 0, `columns` give; of CoNLL-U
    (.conllu) the form and the universal part of speech. A single column are words to predict on.
    labelled: a sentence without tags is a bad row.
    Raises DataError with the file and line.
    """
    columns = columns or Columns()
    reading = OpenFile(path, columns.on_bad_row == "skip")
    as_json = reading.source.suffix in JSON_SUFFIXES or path == "-"
    found = _of_json(reading, columns, labelled) if as_json else read_tagged_lines(reading, columns)
    records: list[TaggedRecord] = []
    for record in found:
        if labelled and record.tags is None:
            reading.fault(record.id.rpartition(":")[2], "has words without tags")
        else:
            records.append(record)
    reading.finish(len(records), "sentences")
    return Sentences(records, reading.warnings)


def _of_json(reading: OpenFile, columns: Columns, labelled: bool) -> Iterator[TaggedRecord]:
    found: ColumnMatch | None = None
    for number, row in json_rows(reading):
        if found is None or (labelled and found.label is None):
            found = find_word_columns(list(row), columns, f"{reading.path}:{number}")
        if labelled and found.label is None:
            reading.fault(number, no_label_column(list(row), "tags"))
            continue
        words = _strings(row, found.text)
        tags = _strings(row, found.label) if found.label else None
        if words is None:
            reading.fault(number, f"has no list of words in '{found.text}'")
        elif found.label and tags is None and row.get(found.label) is not None:
            reading.fault(number, f"has no list of tags in '{found.label}'")
        elif tags is not None and len(tags) != len(words):
            reading.fault(number, f"has {len(words)} words and {len(tags)} tags")
        else:
            yield TaggedRecord(f"{reading.name}:{number}", words, tags)


def _strings(row: Row, name: str) -> tuple[str, ...] | None:
    value: Any = row.get(name)
    if not isinstance(value, list) or not all(isinstance(part, str | int) for part in value):
        return None
    return tuple(str(part) for part in value)


def read_tagged_lines(reading: OpenFile, columns: Columns) -> Iterator[TaggedRecord]:
    """The sentences of columns of words and tags, as they are read. Raises DataError with the file and line."""
    if reading.source.suffix == ".csv":
        raise DataError(
            f"{reading.path}: tagged words are not read from .csv; give columns with tabs or spaces between them and a "
            f"blank line after each sentence (.conll, .tsv), or .jsonl with lists of words and tags"
        )
    conllu = reading.source.suffix == ".conllu"
    word_column = _column(columns.text, "columns.text", 1 if conllu else 0)
    tag_column = _column(columns.label, "columns.label", 3 if conllu else -1)
    words: list[str] = []
    tags: list[str] = []
    begins = 0
    layout: _Layout | None = None
    for number, line in chain(lines(reading), [(0, "")]):
        if not line.strip() or line.startswith("-DOCSTART-"):
            if words:
                yield TaggedRecord(f"{reading.name}:{begins}", tuple(words), tuple(tags) or None)
                words, tags = [], []
            continue
        is_first, layout = layout is None, layout or _Layout.of(line)
        if layout is None or layout.is_comment(line, at_start=not words):
            continue
        cells = layout.cells(line)
        if len(cells) != layout.columns:
            reading.fault(number, f"has {len(cells)} columns, and the lines before it have {layout.columns}")
            continue
        if max(word_column, tag_column) >= len(cells):
            raise DataError(f"{reading.path}:{number} has no column {max(word_column, tag_column)}, counted from 0")
        if is_first and _is_header(cells, word_column, tag_column):
            reading.warnings.append(f"{reading.path}:{number} is taken for a header and left out: {', '.join(cells)}")
            continue
        if conllu and not cells[0].isdecimal():
            continue  # "3-4" is two words written as one, "5.1" a word that was not written
        begins = begins if words else number
        words.append(cells[word_column])
        if len(cells) > 1:
            tags.append(cells[tag_column])


def _is_header(cells: list[str], word_column: int, tag_column: int) -> bool:
    if len(cells) < 2:
        return False  # "word" alone is a word to predict on
    return cells[word_column].casefold() in WORD_HEADERS and cells[tag_column].casefold() in TAG_HEADERS


@dataclass(frozen=True)
class _Layout:
    """How the lines of a file are parted: separator None for any white space."""

    separator: str | None
    columns: int

    @classmethod
    def of(cls, line: str) -> _Layout | None:
        """As the first line with a word has it; None of what may be a comment."""
        if line.startswith("# ") or (line.startswith("#") and "\t" not in line and len(line.split()) != 2):
            return None
        separator = "\t" if "\t" in line else None
        return cls(separator, len(line.rstrip("\t ").split(separator)))

    def cells(self, line: str) -> list[str]:
        """The columns of a line."""
        cells = line.split(self.separator)
        while len(cells) > self.columns and not cells[-1].strip():
            cells.pop()
        return [cell.strip() for cell in cells]

    def is_comment(self, line: str, at_start: bool) -> bool:
        """Whether a line is one about the sentence ('# id 7', '# text = ...'): '#' and '#1' may be words too."""
        if not line.startswith("#"):
            return False
        return len(self.cells(line)) != self.columns or (at_start and line.startswith("# ") and "=" in line)


def _column(said: str | None, name: str, usual: int) -> int:
    if said is None:
        return usual
    if not said.removeprefix("-").isdecimal():
        raise DataError(f"{name} is '{said}', and columns of words and tags have no names: give a number, from 0")
    return int(said)
