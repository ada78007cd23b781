"""The reader of labelled files: records for training, evaluation and prediction, streamed from files or standard input.

Formats by suffix: JSON Lines (.jsonl, .ndjson, .json), tables (.csv, .tsv), Parquet and Arrow, lines of text (.txt),
SQuAD's JSON for questions, and for tags brat's .ann and CoNLL columns (any other suffix). Files may be compressed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from maskling.data.labelled.arrow_rows import ARROW_SUFFIXES, arrow_rows
from maskling.data.labelled.columns import (
    SENTENCE_COLUMNS,
    TEXT_COLUMNS,
    WORD_COLUMNS,
    ColumnMatch,
    Columns,
    find_columns,
    find_word_columns,
    negative_columns,
    no_label_column,
)
from maskling.data.labelled.read_labels import label_of, missing_label, resolve_lists, type_name
from maskling.data.labelled.read_questions import QuestionParser
from maskling.data.labelled.read_spans import SpanParser, brat_folder, brat_sentences, is_brat_folder
from maskling.data.labelled.read_tags import conll_sentences, has_tag_columns, table_sentences, tagged_row
from maskling.data.labelled.records import (
    QuestionRecord,
    Record,
    RecordKind,
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
from maskling.errors import DataError, SettingsError
from maskling.grouping import grouped

LabelUse = Literal["required", "optional", "ignored"]

# Records, and about how many characters, in one group: enough to sort them by length, few enough to hold in memory and
# to wait for.
GROUP_RECORDS = 256
GROUP_CHARACTERS = 1 << 18


@dataclass(frozen=True)
class RecordFile:
    """All records of a file in file order, and a line for each problem in it."""

    records: list[Any]
    warnings: list[str]


def read_records(
    path: str, kind: RecordKind, columns: Columns | None = None, *, labels: LabelUse = "required"
) -> RecordFile:
    """Read a whole file, for training or evaluation. See `RecordReader`."""
    if kind not in ("classify", "tag") and columns is not None and columns.label_names is not None:
        raise SettingsError("columns.label_names names classes or tags, and this task has none; leave it out")
    reader = RecordReader(path, kind, columns, labels=labels)
    return RecordFile(reader.read(), reader.warnings)


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
        known: Collection[str] = (),
    ) -> None:
        """path: '-' is standard input.

        kind: of the task, which decides what a record is and whether labels are numbers. labels: 'required' makes an
        unlabelled row a bad row; 'ignored' reads none, to predict. pairs: whether the model takes pairs of texts (see
        `AnswerSettings`), checked where labels are ignored; None accepts both. known: the labels of the model.
        """
        self._columns = columns or Columns()
        brat = kind == "tag" and is_brat_folder(path)
        self._file = OpenFile(path, self._columns.on_bad_row == "skip", self._columns.encoding, folder=brat)
        self._names, self._known = self._columns.read_label_names(), known
        self._spans = SpanParser(self._file, self._columns, self._names)
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

    def read(self) -> list[Any]:
        """Return all records of a file. Raises DataError with the file and line."""
        records: list[Any] = list(self._records())
        if self._kind == "classify" and self._labels != "ignored":
            names = self._names or self._file.label_names.get(self._found.label or "" if self._found else "", ())

            def fault(record: TextRecord, message: str) -> None:
                self._file.fault(record.id.rpartition(":")[2], message)

            records, warnings = resolve_lists(records, names, fault)
            self._file.warnings += [f"{self._file.path}: {warning}" for warning in warnings]
        self._finish(len(records))
        return records

    def _finish(self, count: int) -> None:
        self._file.finish(count)
        self.warnings += [*self._file.warnings, *self._spans.warnings()]
        self.warnings += self._questions.warnings() if self._questions else ()

    def _records(self) -> Iterator[Record]:
        file, suffix, kind = self._file, self._file.source.suffix, self._kind
        labelled = self._labels != "ignored"
        if self._questions is not None and suffix == ".json":
            for question, where in self._questions.parse_squad():
                yield from self._if_labelled(question, where)
        elif file.folder:
            yield from self._sentences(brat_folder(file, self._spans))
        elif file.is_json:
            yield from self._row_records(json_rows(file))
        elif suffix in ARROW_SUFFIXES:
            yield from self._row_records(arrow_rows(file))
        elif kind == "tag" and suffix in TABLE_SUFFIXES and self._is_word_table():
            rows = table_rows(file, self._columns)
            yield from self._sentences(table_sentences(rows, file, self._columns, self._names, with_tags=labelled))
        elif suffix == ".csv" or (suffix in TABLE_SUFFIXES and kind != "tag"):
            yield from self._row_records(table_rows(file, self._table_columns()))
        elif kind == "answer" and labelled and suffix != ".txt":
            yield from self._row_records(json_rows(file))
        elif kind == "tag" and suffix == ".ann":
            yield from self._sentences(brat_sentences(file, self._spans))
        elif suffix == ".txt" and not (
            kind == "tag" and (labelled or has_tag_columns(file, self._columns, self._known))
        ):
            if labelled:
                raise DataError(f"{file.path}: lines of a .txt are texts without labels; give .jsonl, .csv or .tsv")
            self._lines_are_json = False
            yield from self._line_records(lines(file))
        elif kind == "tag":
            yield from self._sentences(conll_sentences(file, self._columns, self._names if labelled else ()))
        else:
            known = ", ".join((*JSON_SUFFIXES, *TABLE_SUFFIXES, *ARROW_SUFFIXES, ".txt"))
            what = f"files that end in '{suffix}'" if suffix else "files without a suffix"
            raise DataError(f"{file.path}: {what} are not read; give one of {known}, compressed or not")

    def _sentences(self, sentences: Iterable[TaggedRecord]) -> Iterator[Record]:
        for sentence in sentences:
            yield from self._if_labelled(sentence, sentence.id.rpartition(":")[2])

    def _table_columns(self) -> Columns:
        """Return the columns that a table of questions with answers has: theirs have fixed names."""
        if self._kind != "answer" or self._labels == "ignored":
            return self._columns
        nothing = dict.fromkeys(("text", "text_pair", "negative", "label", "sentence"))
        return self._columns.model_copy(update=nothing)

    def _is_word_table(self) -> bool:
        """Return whether a table has one word per row: a column of words, and one that tells sentences apart."""
        path, columns = self._file.path, self._columns
        row = next((row for _, row in table_rows(OpenFile(path, True, self._file.encoding), columns)), {})
        folded = {name.casefold() for name in row}
        if columns.sentence is not None:
            return True
        has_sentence = any(name.casefold() in folded for name in SENTENCE_COLUMNS)
        has_text = any(name in folded for name in TEXT_COLUMNS)
        words = [value for name, value in row.items() if name.casefold() in WORD_COLUMNS]
        has_words = bool(words) and not str(words[0]).startswith("[") and columns.text in (None, *row)
        return has_words and (has_sentence or (self._file.source.suffix == ".csv" and not has_text))

    def _row_records(self, rows: Iterator[tuple[int, Fields]]) -> Iterator[Record]:
        for number, row in rows:
            try:
                records = self._tagged_spans(number, row)
                records = [self._row_record(number, row)] if records is None else records
            except BadRowError as error:
                self._file.fault(number, str(error))
            else:
                for record in records:
                    if self._labels == "ignored" and isinstance(record, TextRecord | QuestionRecord):
                        record = replace(record, row=row)
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

    def _tagged_spans(self, number: int, row: Fields) -> list[Any] | None:
        """Return the sentence of a row whose entities are spans of a text; None for other rows."""
        if self._kind != "tag":
            return None
        id_ = f"{self._file.name}:{number}"
        if self._labels == "ignored":
            text = row["data"].get(self._columns.text or "text") if isinstance(row.get("data"), dict) else None
            return [TextRecord(id_, text)] if isinstance(text, str) else None
        if any(_is_words(row.get(name)) for name in (self._columns.text or "", *WORD_COLUMNS)):
            return None
        return self._spans.parse(row, id_)

    def _row_record(self, number: int, row: Fields) -> Record:
        """Return the record of a row. Raises BadRowError for a bad row, DataError for a file without such columns."""
        if self._questions is not None:
            return self._questions.parse_row(number, row)
        id_, labelled = f"{self._file.name}:{number}", self._labels != "ignored"
        if self._kind == "tag" and (labelled or self._has_word_list(row)):
            found = self._find(number, row, words=True)
            if labelled or isinstance(row.get(found.text), list):
                names = self._names or self._file.label_names.get(found.label or "", ())
                return tagged_row(row, found, id_, with_tags=labelled, names=names)
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
            used = (found.label, *found.label_columns, *found.negatives) if self._labels != "ignored" else ()
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
        names = self._names or self._file.label_names.get(found.label or "", ())
        label = label_of(row, found, self._columns.separator, names, numbers=numbers)
        if self._labels == "required" and label is None:
            raise BadRowError(missing_label(row, found.label, numbers))
        negatives = found.negatives
        if found.text_pair and self._columns.negative is None:  # the objects of JSON differ in their fields
            negatives = negative_columns(row, (found.text, found.text_pair, found.label))
        return TextRecord(
            id=id_,
            text=_text_of(row, found.text),
            text_pair=_text_of(row, found.text_pair) if found.text_pair else None,
            label=label,
            negatives=tuple(text for name in negatives for text in _negatives_of(row, name)),
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
        raise BadRowError(f"has no text in '{name}' but {type_name(value)}")
    return value


def _negatives_of(row: Fields, name: str) -> list[str]:
    """Return the hard negatives in a column: a text, or a list of texts. Raises BadRowError for anything else."""
    value = row.get(name)
    if value is None or value == "":
        return []
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise BadRowError(f"has no text and no list of texts in '{name}' but {type_name(value)}")
    return [text for text in value if text]


def _is_words(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(word, str) for word in value)
