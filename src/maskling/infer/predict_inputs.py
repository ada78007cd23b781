"""What to predict on: labelled files, with or without their labels, plain lines, and standard input as it comes."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from typing import cast

from maskling.data.labelled.columns import WORDS, ColumnMatch, Columns, find_columns, find_word_columns
from maskling.data.labelled.read_questions import read_questions
from maskling.data.labelled.read_tags import read_tagged_lines
from maskling.data.labelled.records import QuestionRecord, TaggedRecord, TextRecord
from maskling.data.labelled.tables import (
    JSON_SUFFIXES,
    LONGEST_LINE,
    TABLE_SUFFIXES,
    OpenFile,
    Row,
    check_unrepeated,
    json_rows,
    lines,
    parse_json,
    table_rows,
)
from maskling.errors import DataError
from maskling.grouping import grouped
from maskling.model.tasks.config import HeadKind

# FOLDED DOCS
# [arriving] Standard input as it comes, so that an answer need not wait for the next question.


Record = TextRecord | TaggedRecord | QuestionRecord

# Records, and about how many characters, that are predicted on together: enough to sort them by length, few enough to
# hold and not to wait for.
TOGETHER = 256
TOGETHER_CHARACTERS = 1 << 18


class PredictInputs:
    """The records of a file, a few at a time.

    warnings: what was wrong with it, complete once all was read.
    """

    def __init__(self, path: str, kind: HeadKind, columns: Columns | None = None, *, pairs: bool | None = None) -> None:
        """path: '-' is standard input; kind, pairs: of the model that is to judge the records, see `Judging`."""
        self._kind, self._pairs = kind, pairs
        self._columns = columns or Columns()
        self._reading = OpenFile(path, self._columns.on_bad_row == "skip")
        self._found: ColumnMatch | None = None
        self._json: bool | None = None
        self.warnings: list[str] = []

    def __iter__(self) -> Iterator[list[Record]]:
        """Some records at a time; of standard input those that have come, without waiting for more.

        JSON Lines, tables, plain lines (.txt), SQuAD's JSON for questions, for tags columns of words (any suffix but
        .csv, a table of texts). Standard input is JSON Lines if its first line begins with '{', else plain lines: each
        a text, or two with a tab between them: a pair, or a question and its context.
        Raises DataError with the file and line.
        """
        count = 0
        for records in self._together():
            count += len(records)
            yield records
        self._reading.finish(count, "records")
        self.warnings += self._reading.warnings

    def _together(self) -> Iterator[list[Record]]:
        if self._reading.path == "-":
            for numbered in arriving_lines():
                some = [record for number, line in numbered if (record := self._of_line(number, line)) is not None]
                yield from grouped(some, _size, TOGETHER_CHARACTERS, TOGETHER)
        else:
            yield from grouped(self._records(), _size, TOGETHER_CHARACTERS, TOGETHER)

    def _records(self) -> Iterator[Record]:
        reading, suffix = self._reading, self._reading.source.suffix
        if self._kind == "answer" and suffix == ".json":
            squad = read_questions(reading.path, skip=reading.skip)
            yield from squad.records
        elif suffix in JSON_SUFFIXES or suffix == ".csv" or (suffix in TABLE_SUFFIXES and self._kind != "tag"):
            rows = json_rows(reading) if suffix in JSON_SUFFIXES else table_rows(reading, self._columns)
            yield from (record for number, row in rows if (record := self._of_row(number, row)) is not None)
        elif suffix == ".txt":
            self._json = False
            numbered = lines(reading)
            yield from (record for number, line in numbered if (record := self._of_line(number, line)) is not None)
        elif self._kind == "tag":
            yield from read_tagged_lines(reading, self._columns)
        else:
            known = ", ".join((*JSON_SUFFIXES, *TABLE_SUFFIXES, ".txt"))
            raise DataError(f"{reading.path}: files that end in '{suffix}' are not read; give one of {known}")

    def _of_line(self, number: int, line: str) -> Record | None:
        """The record of a line, None for an empty one."""
        if not line or line.isspace():
            return None
        self._json = line.lstrip().startswith("{") if self._json is None else self._json
        if self._json:
            try:
                row = parse_json(line)
            except ValueError as error:
                self._reading.fault(number, f"is not JSON ({error})")
                return None
            if isinstance(row, dict):
                return self._of_row(number, row)
            self._reading.fault(number, "is no object with fields")
            return None
        try:
            return record_of(line, self._kind, self._pairs, f"{self._reading.name}:{number}")
        except DataError as error:
            self._reading.fault(number, str(error))
            return None

    def _of_row(self, number: int, row: Row) -> Record | None:
        where = f"{self._reading.name}:{number}"
        if self._kind == "answer":
            check_unrepeated(self._reading, "question", "context")
            question, context = row.get("question"), row.get("context")
            if isinstance(question, str) and isinstance(context, str):
                name = row.get("id")
                return QuestionRecord(str(name) if isinstance(name, str | int) else where, question, context)
            self._reading.fault(number, f"has no texts in 'question' and 'context' but {', '.join(row) or 'nothing'}")
            return None
        listed = self._kind == "tag" and any(
            isinstance(row.get(name), list) for name in (self._columns.text or "", *WORDS)
        )
        if self._found is None:
            find = find_word_columns if listed else find_columns
            self._found = find(list(row), self._columns, self._reading.names_at(number))
            check_unrepeated(self._reading, self._found.text, self._found.text_pair)
        text = row.get(self._found.text)
        pair = row.get(self._found.text_pair) if self._found.text_pair and self._kind != "tag" else None
        if listed and isinstance(text, list):
            return TaggedRecord(where, tuple(map(str, text)))
        if self._pairs and pair is None:
            said = (
                f"has one text, '{self._found.text}', and this model judges pairs; name the other: --columns.text-pair"
            )
            self._reading.fault(number, said)
            return None
        if self._pairs is False and pair is not None:
            if self._columns.text is None:
                two = f"'{self._found.text}' and '{self._found.text_pair}'"
                self._reading.fault(number, f"has two texts, {two}, and this model judges one; name it: --columns.text")
                return None
            pair = None
        if isinstance(text, str) and (pair is None or isinstance(pair, str)):
            return TextRecord(where, text, pair)
        self._reading.fault(number, f"has no text in '{self._found.text}'")
        return None


def record_of(line: str, kind: HeadKind, pairs: bool | None, where: str = "") -> Record:
    """A plain line as what a model of this kind judges: a text, or what a tab parts, a pair or a question and context.

    pairs: see `Judging`. Raises DataError, which says what the line is instead, if it has no tab where it needs one.
    """
    line = line.strip()
    first, tab, second = line.partition("\t")
    if kind == "answer":
        if not tab:
            raise DataError("is not a question and its context with a tab between them")
        return QuestionRecord(where, first, second)
    if kind == "tag" or pairs is False:
        return TextRecord(where, line)
    if pairs and not tab:
        raise DataError("is one text, and this model judges pairs: put a tab between the two")
    return TextRecord(where, first, second) if tab else TextRecord(where, line)


def _size(record: Record) -> int:
    match record:
        case TextRecord():
            return len(record.text) + len(record.text_pair or "")
        case TaggedRecord():
            return sum(map(len, record.words))
        case _:
            return len(record.context)


_BLOCK = 1 << 16


def arriving_lines() -> Iterator[list[tuple[int, str]]]:
    """The lines of standard input with their numbers from 1, as many together as have come.

    Raises DataError for a line that is not UTF-8 or has no end.
    """
    if sys.stdin is None:
        raise DataError("standard input is closed; give a file")
    stream, left, number = cast(io.BufferedReader, sys.stdin.buffer), b"", 0
    while True:
        # Not `read`, which would wait until the block is full.
        block = stream.read1(_BLOCK)
        *whole, left = (left + block).split(b"\n") if block else [left, b""]
        some = []
        for raw in whole:
            number += 1
            try:
                some.append((number, raw.decode("utf-8-sig" if number == 1 else "utf-8").removesuffix("\r")))
            except UnicodeDecodeError as error:
                raise DataError(f"standard input, line {number:,}, is not UTF-8 (byte {error.start:,})") from None
        yield some
        if not block:
            return
        if len(left) > LONGEST_LINE:
            raise DataError(f"standard input, line {number + 1:,}, has no end; put one text on each line")
