"""Sentences of tagged words: CoNLL columns, and rows with lists of words and tags."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

from maskling.data.labelled.columns import TAG_HEADERS, WORD_HEADERS, ColumnMatch, Columns
from maskling.data.labelled.records import TaggedRecord
from maskling.data.labelled.tables import BadRowError, Fields, OpenFile, lines
from maskling.errors import DataError


def tagged_row(row: Fields, found: ColumnMatch, id_: str, *, with_tags: bool) -> TaggedRecord:
    """Return the sentence of a row with lists of words and tags. Raises BadRowError.

    with_tags: read the tags of the row; if False, words of any type are taken as text.
    """
    if not with_tags:
        return TaggedRecord(id_, tuple(map(str, row[found.text])))
    words = _strings(row, found.text)
    tags = _strings(row, found.label) if found.label else None
    if words is None:
        raise BadRowError(f"has no list of words in '{found.text}'")
    if found.label and tags is None and row.get(found.label) is not None:
        raise BadRowError(f"has no list of tags in '{found.label}'")
    if tags is not None and len(tags) != len(words):
        raise BadRowError(f"has {len(words)} words and {len(tags)} tags")
    return TaggedRecord(id_, words, tags)


def _strings(row: Fields, name: str) -> tuple[str, ...] | None:
    value: Any = row.get(name)
    if not isinstance(value, list) or not all(isinstance(part, str | int) for part in value):
        return None
    return tuple(str(part) for part in value)


def conll_sentences(file: OpenFile, columns: Columns) -> Iterator[TaggedRecord]:
    """Yield the sentences of columns of words and tags, with a blank line after each sentence.

    The first column is the word and the last its tag, unless `columns` gives other indices, from 0; CoNLL-U (.conllu)
    has the form and the universal part of speech. A single column holds words without tags.
    Raises DataError with the file and line.
    """
    if file.source.suffix == ".csv":
        raise DataError(
            f"{file.path}: tagged words are not read from .csv; give columns separated by tabs or spaces with a blank "
            f"line after each sentence (.conll, .tsv), or .jsonl with lists of words and tags"
        )
    conllu = file.source.suffix == ".conllu"
    word_column = _column_index(columns.text, "columns.text", 1 if conllu else 0)
    tag_column = _column_index(columns.label, "columns.label", 3 if conllu else -1)
    words: list[str] = []
    tags: list[str] = []
    first_line = 0
    layout: _ColumnLayout | None = None
    for number, line in chain(lines(file), [(0, "")]):
        if not line.strip() or line.startswith("-DOCSTART-"):
            if words:
                yield TaggedRecord(f"{file.name}:{first_line}", tuple(words), tuple(tags) or None)
                words, tags = [], []
            continue
        is_first, layout = layout is None, layout or _ColumnLayout.of(line)
        if layout is None or layout.is_comment(line, at_start=not words):
            continue
        cells = layout.cells(line)
        if len(cells) != layout.columns:
            file.fault(number, f"has {len(cells)} columns, and the lines before it have {layout.columns}")
            continue
        if max(word_column, tag_column) >= len(cells):
            raise DataError(f"{file.path}:{number} has no column {max(word_column, tag_column)}, counted from 0")
        if is_first and _is_header(cells, word_column, tag_column):
            file.warnings.append(f"{file.path}:{number} is taken for a header and left out: {', '.join(cells)}")
            continue
        if conllu and not cells[0].isdecimal():
            continue  # "3-4" is two words written as one, "5.1" a word that was not written
        first_line = first_line if words else number
        words.append(cells[word_column])
        if len(cells) > 1:
            tags.append(cells[tag_column])


def _is_header(cells: list[str], word_column: int, tag_column: int) -> bool:
    if len(cells) < 2:
        return False  # "word" alone is a word to predict on
    return cells[word_column].casefold() in WORD_HEADERS and cells[tag_column].casefold() in TAG_HEADERS


@dataclass(frozen=True)
class _ColumnLayout:
    """How the lines of a CoNLL file are split. separator: None for any white space."""

    separator: str | None
    columns: int

    @classmethod
    def of(cls, line: str) -> _ColumnLayout | None:
        """Return the layout of the first line with a word; None for a line that may be a comment."""
        if line.startswith("# ") or (line.startswith("#") and "\t" not in line and len(line.split()) != 2):
            return None
        separator = "\t" if "\t" in line else None
        return cls(separator, len(line.rstrip("\t ").split(separator)))

    def cells(self, line: str) -> list[str]:
        """Split a line into its columns."""
        cells = line.split(self.separator)
        while len(cells) > self.columns and not cells[-1].strip():
            cells.pop()
        return [cell.strip() for cell in cells]

    def is_comment(self, line: str, at_start: bool) -> bool:
        """Return whether a line comments on the sentence ('# id 7', '# text = ...'): '#' and '#1' may be words too."""
        if not line.startswith("#"):
            return False
        return len(self.cells(line)) != self.columns or (at_start and line.startswith("# ") and "=" in line)


def _column_index(given: str | None, name: str, default: int) -> int:
    if given is None:
        return default
    if not given.removeprefix("-").isdecimal():
        raise DataError(f"{name} is '{given}', but columns of words and tags have no names: give an index, from 0")
    return int(given)
