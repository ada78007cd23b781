"""The reader of labelled files: records for training, evaluation and prediction, streamed from files or standard input.

Formats by suffix: JSON Lines (.jsonl, .ndjson, .json), tables (.csv, .tsv), lines of text (.txt), SQuAD's JSON for
questions, and for tags CoNLL columns (any other suffix). Files may be compressed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from maskling.data.labelled.columns import (
    WORD_COLUMNS,
    ColumnMatch,
    Columns,
    find_columns,
    find_word_columns,
    no_label_column,
)
from maskling.data.labelled.read_questions import QuestionParser
from maskling.data.labelled.read_tags import conll_sentences, tagged_row
from maskling.data.labelled.records import (
    QuestionRecord,
    Record,
    RecordKind,
    RecordLabel,
    TaggedRecord,
    TextRecord,
)
from maskling.data.labelled.tables import (
    JSON_SUFFIXES,
    TABLE_SUFFIXES,
    BadRowError,
    Fields,
    OpenFile,
    check_unrepeated,
    json_rows,
    lines,
    parse_json_row,
    stdin_lines,
    table_rows,
)
from maskling.errors import DataError
from maskling.grouping import grouped

LabelUse = Literal["required", "optional", "ignored"]

# Records, and about how many characters, in one group: enough to sort them by length, few enough to hold in memory and
# to wait for.
GROUP_RECORDS = 256
GROUP_CHARACTERS = 1 << 18
_WRITTEN_AS_FLOAT = re.compile(r"-?\d+\.0")


@dataclass(frozen=True)
class RecordFile:
    """All records of a file in file order, and a line for each problem in it."""

    records: list[Any]
    warnings: list[str]


def read_records(
    path: str, kind: RecordKind, columns: Columns | None = None, *, labels: LabelUse = "required"
) -> RecordFile:
    """Read a whole file, for training or evaluation. See `RecordReader`."""
    reader = RecordReader(path, kind, columns, labels=labels)
    records = list(reader.records())
    return RecordFile(_without_zeros(records) if kind == "classify" else records, reader.warnings)


class RecordReader:
    """Stream the records of a file, one by one or in groups, in bounded memory.

    warnings: a line for each problem in the file; complete after the last record.
    """

    def __init__(
        self,
        path: str,
        kind: RecordKind,
        columns: Columns | None = None,
        *,
        labels: LabelUse = "ignored",
        pairs: bool | None = None,
    ) -> None:
        """path: '-' is standard input.

        kind: of the task, which decides what a record is and whether labels are numbers. labels: 'required' makes an
        unlabelled row a bad row; 'ignored' reads none, to predict. pairs: whether the model takes pairs of texts (see
        `AnswerSettings`), checked where labels are ignored; None accepts both.
        """
        self._columns = columns or Columns()
        self._file = OpenFile(path, self._columns.on_bad_row == "skip")
        self._kind, self._labels, self._pairs = kind, labels, pairs
        self._found: ColumnMatch | None = None
        self._lines_are_json: bool | None = None
        self._questions = QuestionParser(self._file, with_answers=labels != "ignored") if kind == "answer" else None
        self.warnings: list[str] = []

    def __iter__(self) -> Iterator[list[Record]]:
        """Yield groups of records; of standard input the records that have arrived, without waiting for more.

        To predict, standard input is JSON Lines if its first line begins with '{', else plain lines: a text each, or
        two with a tab between them (a pair, or a question and its context). With labels it is JSON Lines.
        Raises DataError with the file and line.
        """
        if self._file.path == "-" and self._labels == "ignored":
            count = 0
            for arrived in stdin_lines():
                for group in _grouped(list(self._line_records(iter(arrived)))):
                    count += len(group)
                    yield group
            self._finish(count)
        else:
            yield from _grouped(self.records())

    def records(self) -> Iterator[Record]:
        """Yield the records of a file one by one. Raises DataError with the file and line."""
        count = 0
        for record in self._records():
            count += 1
            yield record
        self._finish(count)

    def _finish(self, count: int) -> None:
        self._file.finish(count)
        self.warnings += [*self._file.warnings, *(self._questions.warnings() if self._questions else ())]

    def _records(self) -> Iterator[Record]:
        file, suffix, kind = self._file, self._file.source.suffix, self._kind
        labelled = self._labels != "ignored"
        if self._questions is not None and suffix == ".json":
            for question, where in self._questions.parse_squad():
                yield from self._if_labelled(question, where)
        elif file.is_json:
            yield from self._row_records(json_rows(file))
        elif suffix in TABLE_SUFFIXES and (kind != "tag" or (suffix == ".csv" and not labelled)):
            yield from self._row_records(
                table_rows(file, Columns() if kind == "answer" and labelled else self._columns)
            )
        elif kind == "answer" and labelled and suffix != ".txt":
            yield from self._row_records(json_rows(file))
        elif suffix == ".txt" and not (kind == "tag" and labelled):
            if labelled:
                raise DataError(f"{file.path}: lines of a .txt are texts without labels; give .jsonl, .csv or .tsv")
            self._lines_are_json = False
            yield from self._line_records(lines(file))
        elif kind == "tag":
            for sentence in conll_sentences(file, self._columns):
                yield from self._if_labelled(sentence, sentence.id.rpartition(":")[2])
        else:
            known = ", ".join((*JSON_SUFFIXES, *TABLE_SUFFIXES, ".txt"))
            what = f"files that end in '{suffix}'" if suffix else "files without a suffix"
            raise DataError(f"{file.path}: {what} are not read; give one of {known}, compressed or not")

    def _row_records(self, rows: Iterator[tuple[int, Fields]]) -> Iterator[Record]:
        for number, row in rows:
            try:
                record = self._row_record(number, row)
            except BadRowError as error:
                self._file.fault(number, str(error))
            else:
                yield from self._if_labelled(record, number)

    def _line_records(self, numbered: Iterator[tuple[int, str]]) -> Iterator[Record]:
        """Yield the records of plain lines, or of JSON Lines; empty lines are skipped."""
        for number, line in numbered:
            if not line or line.isspace():
                continue
            if self._lines_are_json is None:
                self._lines_are_json = line.lstrip().startswith("{")
            try:
                if self._lines_are_json:
                    yield self._row_record(number, parse_json_row(line))
                else:
                    yield parse_line(line, self._kind, self._pairs, f"{self._file.name}:{number}")
            except BadRowError as error:
                self._file.fault(number, str(error))

    def _if_labelled(self, record: Record, where: int | str) -> Iterator[Record]:
        """Yield a sentence or question, unless its label is required and missing."""
        if self._labels == "required":
            if isinstance(record, TaggedRecord) and record.tags is None:
                self._file.fault(where, "has words without tags")
                return
            # Without skipping, unanswered questions are kept: `check_questions` reports them all together.
            if isinstance(record, QuestionRecord) and self._file.skip and not (record.answers or record.impossible):
                self._file.fault(where, "has no answer")
                return
        yield record

    def _row_record(self, number: int, row: Fields) -> Record:
        """Return the record of a row. Raises BadRowError for a bad row, DataError for a file without such columns."""
        if self._questions is not None:
            return self._questions.parse_row(number, row)
        id_, labelled = f"{self._file.name}:{number}", self._labels != "ignored"
        if self._kind == "tag" and (labelled or self._has_word_list(row)):
            found = self._find(number, row, words=True)
            if labelled or isinstance(row.get(found.text), list):
                return tagged_row(row, found, id_, with_tags=labelled)
        found = self._find(number, row)
        return self._labelled_text(row, found, id_) if labelled else self._unlabelled_text(row, found, id_)

    def _find(self, number: int, row: Fields, words: bool = False) -> ColumnMatch:
        """Match the columns once per file.

        The fields of JSON objects may differ from row to row: the first row decides, or, if labels are required, the
        first with a label.
        """
        file, required = self._file, self._labels == "required"
        if self._found is None or (required and self._found.label is None):
            found = (find_word_columns if words else find_columns)(list(row), self._columns, file.names_at(number))
            used = (found.label, found.negative) if self._labels != "ignored" else ()
            check_unrepeated(file, found.text, found.text_pair, *used)
            self._found = found
            if required and found.label is None:
                if not file.is_json:
                    raise DataError(f"{file.names_at(number)} {no_label_column(list(row))}")
                raise BadRowError(no_label_column(list(row), "tags" if words else "labels"))
        return self._found

    def _has_word_list(self, row: Fields) -> bool:
        return any(isinstance(row.get(name), list) for name in (self._columns.text or "", *WORD_COLUMNS))

    def _labelled_text(self, row: Fields, found: ColumnMatch, id_: str) -> TextRecord:
        numbers = self._kind == "regress"
        label = _label_of(row, found.label, self._columns.separator, numbers)
        if self._labels == "required" and label is None:
            raise BadRowError(_missing_label(row, found.label, numbers))
        return TextRecord(
            id=id_,
            text=_text_of(row, found.text),
            text_pair=_text_of(row, found.text_pair) if found.text_pair else None,
            label=label,
            negative=_negative_of(row, found.negative, required=self._columns.negative is not None),
        )

    def _unlabelled_text(self, row: Fields, found: ColumnMatch, id_: str) -> TextRecord:
        pair = row.get(found.text_pair) if found.text_pair and self._kind != "tag" else None
        if self._pairs and pair is None:
            raise BadRowError(
                f"has one text, '{found.text}', but this model takes pairs; name the second: --columns.text-pair"
            )
        if self._pairs is False and pair is not None:
            if self._columns.text is None:
                both = f"'{found.text}' and '{found.text_pair}'"
                raise BadRowError(f"has two texts, {both}, but this model takes one; name it: --columns.text")
            pair = None
        text_pair = _text_of(row, found.text_pair) if found.text_pair and pair is not None else None
        return TextRecord(id_, _text_of(row, found.text), text_pair)


def parse_line(line: str, kind: RecordKind, pairs: bool | None, id_: str = "") -> Record:
    """Return a plain line as a record to predict on: a text, or, at a tab, a pair or a question and its context.

    pairs: whether the model takes pairs of texts, None for both. Raises BadRowError for a line without a necessary tab.
    """
    line = line.strip()
    first, tab, second = line.partition("\t")
    if kind == "answer":
        if not tab:
            raise BadRowError("is not a question and its context with a tab between them")
        return QuestionRecord(id_, first, second)
    if kind == "tag" or pairs is False:
        return TextRecord(id_, line)
    if pairs and not tab:
        raise BadRowError("is one text, but this model takes pairs: put a tab between the two")
    return TextRecord(id_, first, second) if tab else TextRecord(id_, line)


def _grouped(records: Iterable[Record]) -> Iterator[list[Record]]:
    return grouped(records, _size, GROUP_CHARACTERS, GROUP_RECORDS)


def _size(record: Record) -> int:
    match record:
        case TextRecord():
            return len(record.text) + len(record.text_pair or "")
        case TaggedRecord():
            return sum(map(len, record.words))
        case _:
            return len(record.context)


def _text_of(row: Fields, name: str) -> str:
    value = row.get(name)
    if not isinstance(value, str):
        raise BadRowError(f"has no text in '{name}' but {_type_name(value)}")
    return value


def _negative_of(row: Fields, name: str | None, *, required: bool) -> str | None:
    value = row.get(name) if name is not None else None
    if value is None or value == "" or (not isinstance(value, str) and not required):
        return None
    return _text_of(row, str(name))


def _label_of(row: Fields, name: str | None, separator: str | None, numbers: bool) -> RecordLabel:
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
        return tuple(_label_name(part, name) for part in value)
    return _label_name(value, name)


def _is_undecided(value: Any, column: str | None) -> bool:
    """Return whether a label is the mark of SNLI and MultiNLI for pairs on which the annotators did not agree."""
    return value == "-" and column == "gold_label"


def _missing_label(row: Fields, column: str | None, numbers: bool) -> str:
    if column is None:
        return no_label_column(list(row))
    if _is_undecided(row.get(column), column):
        return f"has '-' in '{column}': the annotators did not agree, so it has no label"
    return f"has no {'number' if numbers else 'label'} in '{column}'"


def _label_name(value: Any, column: str | None) -> str:
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
            raise BadRowError(
                f"has {_type_name(value)} for a label in '{column}'; to learn numbers, use --task regress"
            )


def _number(value: Any, column: str | None) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise BadRowError(f"has {value!r} in '{column}', but a number is needed")
    return number


def _type_name(value: Any) -> str:
    if value is None:
        return "nothing"
    names = {bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return names.get(type(value), f"a {type(value).__name__}")


def _without_zeros(records: list[Any]) -> list[Any]:
    """Write labels as JSON's 1.0 is named, if all are written as 1.0, as pandas does where some are missing."""
    labels = [record.label for record in records if record.label is not None]
    if not all(isinstance(label, str) and _WRITTEN_AS_FLOAT.fullmatch(label) for label in labels):
        return records
    return [
        replace(record, label=record.label.removesuffix(".0")) if isinstance(record.label, str) else record
        for record in records
    ]
