"""Sentences of tagged words: CoNLL columns, rows with lists of words and tags, and tables with one word per row."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Any, Final

from maskling.data.labelled.columns import (
    TAG_HEADERS,
    WORD_HEADERS,
    ColumnMatch,
    Columns,
    find_sentence_column,
    find_word_columns,
)
from maskling.data.labelled.read_labels import list_in_text, named_tags
from maskling.data.labelled.records import TaggedRecord
from maskling.data.labelled.tables import BadRowError, Fields, OpenFile, check_unrepeated, lines
from maskling.errors import DataError
from maskling.metrics.entities import unmarked

_SPACES = re.compile(r"[ \t]+")
_DOCUMENT_MARK: Final = "-DOCSTART-"
_WEBANNO: Final = "#FORMAT=WebAnno"
# The layout of a file is found from its first lines.
_SAMPLE_LINES: Final = 1000
_NEARLY_ALL: Final = 0.95


def tagged_row(
    row: Fields, found: ColumnMatch, id_: str, *, with_tags: bool, names: Sequence[str] = ()
) -> TaggedRecord:
    """Return the sentence of a row with lists of words and tags. Raises BadRowError.

    with_tags: read the tags of the row; if False, words of any type are taken as text. names: of tags that are numbers.
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
    return TaggedRecord(id_, words, None if tags is None else named_tags(tags, names, found.label))


def _strings(row: Fields, name: str) -> tuple[str, ...] | None:
    value: Any = row.get(name)
    if isinstance(value, str):
        value = list_in_text(value)  # a table of lists, as pandas writes it
    if not isinstance(value, list) or not all(isinstance(part, str | int) for part in value):
        return None
    return tuple(str(part) for part in value)


def conll_sentences(file: OpenFile, columns: Columns, names: Sequence[str] = ()) -> Iterator[TaggedRecord]:
    """Yield the sentences of columns of words and tags, with a blank line after each sentence.

    The first column is the word and the last its tag, unless `columns` gives other indices, from 0. Where the first
    numbers the words (GermEval), the second is the word; CoNLL-U (.conllu) has the form and the universal part of
    speech. A single column holds words without tags. names: of tags that are numbers. A line that cannot be read leaves
    out its sentence, if bad rows are skipped.
    Raises DataError with the file and line.
    """
    conllu = file.source.suffix == ".conllu"
    word_column = _column_index(columns.text, "columns.text", 1 if conllu else 0)
    tag_column = _column_index(columns.label, "columns.label", 3 if conllu else -1)
    file.unit = "sentences"
    words: list[str] = []
    tags: list[str] = []
    first_line, faulty = 0, False
    numbered = lines(file)
    first = list(islice(numbered, _SAMPLE_LINES))
    layout = _ColumnLayout.of([line for _, line in first], tag_column)
    if columns.text is None and first and first[0][1].startswith(_WEBANNO):
        raise DataError(
            f"{file.path} is WebAnno's TSV; export it as CoNLL 2003, or name its columns, from 0: --columns.text 2 "
            f"--columns.label 3"
        )
    if columns.text is None and not conllu and layout is not None and layout.numbers_words([line for _, line in first]):
        word_column = 1
        file.warnings.append(
            f"{file.path}: the first column numbers the words; words are read from the second and tags from the "
            f"{'last' if columns.label is None else 'given'} (columns.text and columns.label choose others, from 0)"
        )
    is_first = True
    for number, line in chain(first, numbered, [(0, "")]):
        cells = layout.cells(line) if layout is not None and line.strip() else []
        if not cells or layout is None or _DOCUMENT_MARK in (cells[0], cells[min(word_column, len(cells) - 1)]):
            if words and not faulty:
                try:
                    yield TaggedRecord(
                        f"{file.name}:{first_line}", tuple(words), named_tags(tags, names, "tag") or None
                    )
                except BadRowError as error:
                    file.fault(first_line, str(error))
            words, tags, faulty = [], [], False
            continue
        if layout.is_comment(line, cells, at_start=not words):
            continue
        if len(cells) != layout.columns:
            if not faulty:
                file.fault(number, f"has {len(cells)} columns, and the lines before it have {layout.columns}")
            faulty = True
            continue
        if max(word_column, tag_column) >= len(cells):
            raise DataError(f"{file.path}:{number} has no column {max(word_column, tag_column)}, counted from 0")
        was_first, is_first = is_first, False
        if was_first and _is_header(cells, word_column, tag_column):
            file.warnings.append(f"{file.path}:{number} is taken for a header and left out: {', '.join(cells)}")
            continue
        if conllu and not cells[0].isdecimal():
            continue  # "3-4" is two words written as one, "5.1" a word that was not written
        first_line = first_line if words else number
        words.append(cells[word_column])
        if len(cells) > 1:
            tags.append(cells[tag_column])


def has_tag_columns(file: OpenFile, columns: Columns, known: Collection[str]) -> bool:
    """Return whether a text file has columns of words and tags, not a text per line.

    known: the tags of the model. The first lines decide: all of them have the same columns, and the last one is a tag.
    """
    if any(name is not None and name.isdecimal() for name in (columns.text, columns.label)):
        return True
    first = [line for _, line in islice(lines(file), _SAMPLE_LINES) if line.strip()]
    layout = _ColumnLayout.of(first, -1)
    if layout is None or layout.columns < 2:
        return any(line.startswith(_DOCUMENT_MARK) for line in first)
    rows = [cells for line in first if not layout.is_comment(line, cells := layout.cells(line), at_start=True)]
    rows = [cells for cells in rows if cells[0] != _DOCUMENT_MARK]
    like = [cells for cells in rows if len(cells) == layout.columns and is_tag(cells[-1], known)]
    return bool(rows) and len(like) >= _NEARLY_ALL * len(rows)


def is_tag(cell: str, known: Collection[str]) -> bool:
    """Return whether a cell is one of the known tags, or marks a place in an entity."""
    return cell == "O" or cell in known or not unmarked([cell])


def table_sentences(
    rows: Iterator[tuple[int, Fields]], file: OpenFile, columns: Columns, names: Sequence[str], *, with_tags: bool
) -> Iterator[TaggedRecord]:
    """Yield the sentences of a table with one word per row.

    A column numbers or names the sentence of each row, or of its first row only. Raises DataError.
    """
    file.unit = "sentences"
    found: ColumnMatch | None = None
    sentence, now, first_line, faults, faulty = "", "", 0, 0, False
    words: list[str] = []
    tags: list[str] = []
    for number, row in chain(rows, [(0, None)]):
        if row is not None and found is None:
            found = find_word_columns(list(row), columns, file.names_at(number))
            sentence = find_sentence_column(list(row), columns, file.names_at(number))
            check_unrepeated(file, found.text, found.label, sentence)
        name = now if row is None else str(row.get(sentence) or "").strip() or now
        # A row that was left out belongs to the sentence before it or to the one after it.
        bad, faults = file.bad_rows > faults, file.bad_rows
        if (row is None or name != now) and words:
            if not faulty and not bad:
                try:
                    yield TaggedRecord(
                        f"{file.name}:{first_line}", tuple(words), named_tags(tags, names, "tag") or None
                    )
                except BadRowError as error:
                    file.fault(first_line, str(error))
                    faults = file.bad_rows
            words, tags, faulty = [], [], False
        if row is None or found is None:
            return
        now, faulty = name, faulty or bad
        first_line = first_line if words else number
        words.append(str(row[found.text]))
        if with_tags and found.label is not None:
            tags.append(str(row[found.label]).strip())


def _is_header(cells: list[str], word_column: int, tag_column: int) -> bool:
    if len(cells) < 2:
        return False  # "word" alone is a word to predict on
    return cells[word_column].casefold() in WORD_HEADERS and cells[tag_column].casefold() in TAG_HEADERS


@dataclass(frozen=True)
class _ColumnLayout:
    """How the lines of a CoNLL file are split: at tabs, or at runs of spaces and tabs.

    No other white space separates columns: a no-break space is part of a word (10 000), and the ideographic one may be
    a word. tags: those of the first lines, without lines that begin with '#'.
    """

    tabs: bool
    columns: int
    tag_column: int = -1
    tags: frozenset[str] = frozenset()

    @classmethod
    def of(cls, lines: Iterable[str], tag_column: int) -> _ColumnLayout | None:
        """Return the layout of a file that begins with these lines; None if there is none to tell it by.

        A line that begins with '#' tells it only if there are no others.
        """
        filled = [line for line in lines if line.strip() and not line.startswith(_DOCUMENT_MARK)]
        plain = [line for line in filled if not line.startswith("#")]
        pattern = next(iter(plain or filled), None)
        if pattern is None:
            return None
        tabs = "\t" in pattern
        found = cls(tabs, len(cls(tabs, 0).cells(pattern)), tag_column)
        rows = [found.cells(line) for line in plain]
        tags = frozenset(row[tag_column] for row in rows if len(row) == found.columns > max(tag_column, 0))
        return replace(found, tags=tags)

    def cells(self, line: str) -> list[str]:
        """Split a line into its columns."""
        cells = line.split("\t") if self.tabs else _SPACES.split(line.strip(" \t"))
        while len(cells) > max(self.columns, 1) and not cells[-1].strip():
            cells.pop()
        return [cell.strip(" \t") for cell in cells]

    def numbers_words(self, lines: Iterable[str]) -> bool:
        """Return whether the first of three or more columns numbers the words of each sentence, 1, 2, 3, ..."""
        if self.columns < 3:
            return False
        numbers: list[str] = []
        longest = 0
        for line in lines:
            cells = self.cells(line)
            if line.startswith(_DOCUMENT_MARK) or (line.startswith("#") and not cells[0].isdecimal()):
                continue
            if not line.strip():
                numbers = []
                continue
            numbers.append(cells[0])
            if numbers[-1] not in (str(len(numbers)), str(len(numbers) - 1)):
                return False
            longest = max(longest, len(numbers))
        return longest > 1

    def is_comment(self, line: str, cells: Sequence[str], at_start: bool) -> bool:
        """Return whether a line comments on the sentence ('# id 7', '# text = ...'): '#' and '#1' may be words too."""
        if not line.startswith("#"):
            return False
        if len(cells) != self.columns or (at_start and line.startswith("# ") and "=" in line):
            return True
        # '#<TAB>http://...' has two columns where each word has two.
        alone = cells[0] == "#" and at_start and len(cells) > max(self.tag_column, 1)
        return alone and bool(self.tags) and cells[self.tag_column] not in self.tags


def _column_index(given: str | None, name: str, default: int) -> int:
    if given is None:
        return default
    if not given.removeprefix("-").isdecimal():
        raise DataError(f"{name} is '{given}', but columns of words and tags have no names: give an index, from 0")
    return int(given)
