"""Questions with answers in a context, from SQuAD's JSON (1.1 and 2.0), JSON Lines or tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from maskling.data.labelled.columns import Columns
from maskling.data.labelled.records import Answer, QuestionRecord
from maskling.data.labelled.tables import (
    TABLE_SUFFIXES,
    OpenFile,
    Row,
    check_unrepeated,
    json_rows,
    parse_json,
    table_rows,
    whole,
)
from maskling.errors import DataError, suggestion

# How far from where it should be an answer is looked for.
NEAR = 32
# Fields of a row that has a single answer.
_SINGLE = ("answer", "answer_text")


@dataclass(frozen=True)
class Questions:
    """records: what a file holds, in its order; warnings: a line for each thing that was wrong with it."""

    records: list[QuestionRecord]
    warnings: list[str]


def read_questions(path: str, *, skip: bool = False, answered: bool = False) -> Questions:
    """Read SQuAD's JSON, or JSON Lines with question, context and answers as the hub's sets have them.

    JSON Lines and tables may have one answer in 'answer', and in 'answer_start' its first character; an empty one says
    that the context does not answer the question.
    An answer that is not where `answer_start` says is put right if it is found once nearby, else it keeps its text
    and loses its place: good to be judged by, not to learn from. skip: leave out what cannot be read; with `answered`
    also questions that have no answer and are not impossible.
    Raises DataError with the file and the question.
    """
    reading = OpenFile(path, skip)
    answers = _Answers()
    found = _of_squad(reading, answers) if _is_squad(reading) else _of_lines(reading, answers)
    records: list[QuestionRecord] = []
    for record, where in found:
        if skip and answered and not record.answers and not record.impossible:
            reading.fault(where, "has no answer")
        else:
            records.append(record)
    reading.finish(len(records), "questions")
    return Questions(records, [*reading.warnings, *answers.warnings(path)])


@dataclass
class _Answers:
    """Reads answers, and counts those that are not where they should be."""

    moved: int = 0
    lost: int = 0
    first_moved: str = ""
    first_lost: str = ""

    def read(self, value: Any, context: str, where: str) -> tuple[Answer, ...]:
        """SQuAD's list of {text, answer_start}, or the hub's {text: [...], answer_start: [...]}. Raises ValueError."""
        if isinstance(value, Mapping):
            texts, starts = value.get("text"), value.get("answer_start")
            if not isinstance(texts, list) or not isinstance(starts, list) or len(texts) != len(starts):
                raise ValueError("has answers without lists of 'text' and 'answer_start' of one length")
            value = [{"text": text, "answer_start": start} for text, start in zip(texts, starts, strict=True)]
        if not isinstance(value, list):
            raise ValueError("has answers that are no list; one alone goes into 'answer' and 'answer_start'")
        return tuple(self._one(one, context, where) for one in value)

    def _one(self, one: Any, context: str, where: str) -> Answer:
        text = one.get("text") if isinstance(one, Mapping) else None
        start = one.get("answer_start") if isinstance(one, Mapping) else None
        if not isinstance(text, str) or not isinstance(start, int):
            raise ValueError("has an answer without 'text' and 'answer_start', its first character in 'context'")
        place = locate(text, start, context)
        if place is None:
            self.lost += 1
            self.first_lost = self.first_lost or where
        elif place != start:
            self.moved += 1
            self.first_moved = self.first_moved or where
        return Answer(text, -1 if place is None else place)

    def warnings(self, path: str) -> list[str]:
        """A line for each kind of fault."""
        said = []
        if self.moved:
            said.append(
                f"{path}: {self.moved:,} answers stood a few characters off and were moved ({self.first_moved})"
            )
        if self.lost:
            said.append(
                f"{path}: {self.lost:,} answers are not in their context; nothing is learned from those "
                f"({self.first_lost})"
            )
        return said


def locate(text: str, start: int, context: str) -> int | None:
    """Where an answer begins: at `start`, else at the one place within NEAR characters of it, else None."""
    if text and start >= 0 and context.startswith(text, start):
        return start
    if not text:
        return None
    near = max(0, start - NEAR)
    found = context.find(text, near, start + NEAR + len(text))
    if found < 0 or context.find(text, found + 1, start + NEAR + len(text)) >= 0:
        return None
    return found


def _is_squad(reading: OpenFile) -> bool:
    return reading.source.suffix == ".json"


def _of_squad(reading: OpenFile, answers: _Answers) -> Iterator[tuple[QuestionRecord, str]]:
    text = whole(reading)
    try:
        tree = parse_json(text)
    except ValueError as error:
        if text.lstrip()[:1] == "{" and "\n" in text.strip():
            raise DataError(f"{reading.path} is not JSON ({error}); name JSON Lines .jsonl") from None
        raise DataError(f"{reading.path} is not JSON ({error})") from None
    data = tree.get("data") if isinstance(tree, Mapping) else None
    if not isinstance(data, list):
        raise DataError(f"{reading.path} has no list 'data' of articles, as SQuAD's files have; name JSON Lines .jsonl")
    for number, article in enumerate(data, 1):
        place = f"article {number}"
        for paragraph in _list(article, "paragraphs", reading, place):
            context = paragraph.get("context") if isinstance(paragraph, Mapping) else None
            if not isinstance(context, str):
                reading.fault(place, "has a paragraph without 'context'")
                continue
            for question in _list(paragraph, "qas", reading, place):
                where = f"{place}, question {question.get('id', '?') if isinstance(question, Mapping) else '?'}"
                yield from _question(question, context, where, reading, answers)


def _list(row: Any, name: str, reading: OpenFile, place: str) -> list[Any]:
    value = row.get(name) if isinstance(row, Mapping) else None
    if isinstance(value, list):
        return value
    reading.fault(place, f"has no list '{name}'")
    return []


def _of_lines(reading: OpenFile, answers: _Answers) -> Iterator[tuple[QuestionRecord, str]]:
    suffix = reading.source.suffix
    if suffix == ".txt":
        raise DataError(f"{reading.path}: questions with answers are read from SQuAD's .json, .jsonl, .csv or .tsv")
    for number, row in table_rows(reading, Columns()) if suffix in TABLE_SUFFIXES else json_rows(reading):
        check_unrepeated(reading, "question", "context", "answers", *_SINGLE, "answer_start", "is_impossible")
        context = row.get("context")
        if not isinstance(context, str):
            close = suggestion("context", list(row))
            reading.fault(number, f"has no text in 'context' but {', '.join(map(str, row)) or 'nothing'}{close}")
            continue
        yield from _question(row, context, str(number), reading, answers)


def _question(
    row: Row | Any, context: str, where: str, reading: OpenFile, answers: _Answers
) -> Iterator[tuple[QuestionRecord, str]]:
    question = row.get("question") if isinstance(row, Mapping) else None
    if not isinstance(question, str):
        reading.fault(where, "has no text in 'question'")
        return
    try:
        given = _given(row)
        found = answers.read(given, context, where) if given is not None else ()
    except ValueError as error:
        reading.fault(where, str(error))
        return
    # SQuAD 2.0 says it; the hub's copy of it only has no answers.
    impossible = _is_true(row["is_impossible"]) if "is_impossible" in row else given is not None and not found
    name = row.get("id")
    id_ = str(name) if isinstance(name, str | int) else f"{reading.name}:{where}"
    yield QuestionRecord(id_, question, context, () if impossible else found, impossible), where


def _given(row: Row) -> Any:
    """The answers of a row as SQuAD has them, None where it says nothing of them."""
    if row.get("answers") is not None:
        return row["answers"]
    text = next((row[name] for name in _SINGLE if row.get(name) is not None), None)
    start = row.get("answer_start")
    if isinstance(start, str | float):
        start = _whole(start)
    return None if text is None else [] if text == "" else [{"text": text, "answer_start": start}]


def _whole(number: str | float) -> int | None:
    # A table written by pandas has 17.0 where other rows have none.
    try:
        value = float(number)
    except ValueError:
        return None
    return int(value) if value.is_integer() else None


def _is_true(value: Any) -> bool:
    return value.strip().casefold() in ("true", "1", "yes") if isinstance(value, str) else bool(value)
