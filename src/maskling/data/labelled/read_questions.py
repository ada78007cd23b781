"""Questions with answers in a context: SQuAD's JSON (1.1 and 2.0), and rows as the Hugging Face hub has them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from maskling.data.labelled.records import Answer, QuestionRecord
from maskling.data.labelled.tables import BadRowError, Fields, OpenFile, check_unrepeated, parse_json, read_whole
from maskling.errors import DataError, listing, suggestion

# Characters around 'answer_start' in which a misplaced answer is searched.
NEAR = 32
# Fields of a row that has a single answer.
_SINGLE = ("answer", "answer_text")


class QuestionParser:
    """Parse questions, and count the answers that are not where `answer_start` puts them.

    A misplaced answer is moved to its nearest occurrence (see `locate`); without one it keeps its text and loses its
    position: it still counts in evaluation, but there is nothing to learn from it.
    """

    def __init__(self, file: OpenFile, *, with_answers: bool) -> None:
        """with_answers: read the answers; if False, only the question and its context."""
        self._file, self._with_answers = file, with_answers
        self._moved = self._lost = 0
        self._first_moved = self._first_lost = ""

    def parse_row(self, number: int, row: Fields) -> QuestionRecord:
        """Return the question of a row with 'question', 'context' and 'answers'. Raises BadRowError or DataError.

        A single answer may be given in 'answer', and its first character in 'answer_start'; an empty answer means that
        the context does not answer the question.
        """
        answers = ("answers", *_SINGLE, "answer_start", "is_impossible") if self._with_answers else ()
        check_unrepeated(self._file, "question", "context", *answers)
        context = row.get("context")
        if not isinstance(context, str):
            close = suggestion("context", list(row))
            raise BadRowError(f"has no text in 'context' but {listing(list(row), len(row))}{close}")
        return self._parse(row, context, str(number))

    def parse_squad(self) -> Iterator[tuple[QuestionRecord, str]]:
        """Yield the questions of SQuAD's JSON, each with where it is. Raises DataError with the file and question."""
        file, text = self._file, read_whole(self._file)
        try:
            tree = parse_json(text)
        except ValueError as error:
            if text.lstrip()[:1] == "{" and "\n" in text.strip():
                raise DataError(f"{file.path} is not JSON ({error}); name JSON Lines .jsonl") from None
            raise DataError(f"{file.path} is not JSON ({error})") from None
        data = tree.get("data") if isinstance(tree, Mapping) else None
        if not isinstance(data, list):
            raise DataError(
                f"{file.path} has no list 'data' of articles, as SQuAD's files have; name JSON Lines .jsonl"
            )
        for index, article in enumerate(data, 1):
            where = f"article {index}"
            for paragraph in self._list_of(article, "paragraphs", where):
                context = paragraph.get("context") if isinstance(paragraph, Mapping) else None
                if not isinstance(context, str):
                    file.fault(where, "has a paragraph without 'context'")
                    continue
                for question in self._list_of(paragraph, "qas", where):
                    id_ = question.get("id", "?") if isinstance(question, Mapping) else "?"
                    question_where = f"{where}, question {id_}"
                    try:
                        record = self._parse(question, context, question_where)
                    except BadRowError as error:
                        file.fault(question_where, str(error))
                    else:
                        yield record, question_where

    def warnings(self) -> list[str]:
        """Return a line per kind of misplaced answer."""
        path, found = self._file.path, []
        if self._moved:
            found.append(
                f"{path}: {self._moved:,} answers were not at 'answer_start' and were moved to the nearest place with "
                f"their text ({self._first_moved})"
            )
        if self._lost:
            found.append(
                f"{path}: {self._lost:,} answers are not near 'answer_start' in their context; nothing is learned from "
                f"those ({self._first_lost})"
            )
        return found

    def _parse(self, row: Fields | Any, context: str, where: str) -> QuestionRecord:
        question = row.get("question") if isinstance(row, Mapping) else None
        if not isinstance(question, str):
            raise BadRowError("has no text in 'question'")
        given = row.get("id")
        id_ = str(given) if isinstance(given, str | int) else f"{self._file.name}:{where}"
        if not self._with_answers:
            return QuestionRecord(id_, question, context)
        answers = _answers_of(row)
        found = self._parse_answers(answers, context, where) if answers is not None else ()
        # SQuAD 2.0 has the field; the hub's copy of it only has no answers.
        impossible = _is_true(row["is_impossible"]) if "is_impossible" in row else answers is not None and not found
        return QuestionRecord(id_, question, context, () if impossible else found, impossible)

    def _parse_answers(self, value: Any, context: str, where: str) -> tuple[Answer, ...]:
        """Parse SQuAD's list of {text, answer_start}, or the hub's {text: [...], answer_start: [...]}."""
        if isinstance(value, Mapping):
            texts, starts = value.get("text"), value.get("answer_start")
            if not isinstance(texts, list) or not isinstance(starts, list) or len(texts) != len(starts):
                raise BadRowError("has answers without lists of 'text' and 'answer_start' of the same length")
            value = [{"text": text, "answer_start": start} for text, start in zip(texts, starts, strict=True)]
        if not isinstance(value, list):
            raise BadRowError("has answers that are not a list; put a single one into 'answer' and 'answer_start'")
        return tuple(self._parse_answer(one, context, where) for one in value)

    def _parse_answer(self, value: Any, context: str, where: str) -> Answer:
        text = value.get("text") if isinstance(value, Mapping) else None
        given = value.get("answer_start") if isinstance(value, Mapping) else None
        if not isinstance(text, str) or not isinstance(given, int):
            raise BadRowError("has an answer without 'text' and 'answer_start', its first character in 'context'")
        found = locate(text, given, context)
        if found is None:
            self._lost += 1
            self._first_lost = self._first_lost or where
            return Answer(text, -1)
        if found[0] != given:
            self._moved += 1
            self._first_moved = self._first_moved or where
        return Answer(found[1], found[0])

    def _list_of(self, row: Any, name: str, where: str) -> list[Any]:
        value = row.get(name) if isinstance(row, Mapping) else None
        if isinstance(value, list):
            return value
        self._file.fault(where, f"has no list '{name}'")
        return []


def locate(text: str, start: int, context: str) -> tuple[int, str] | None:
    """Return where an answer starts and its text in the context, None if it is not near `start`.

    At `start`, in characters or in UTF-16 units as JavaScript counts them, else at the nearest occurrence within NEAR
    characters. White space around the answer does not count, and any white space matches any other.
    """
    bare = text.strip()
    if not bare:
        return None
    if start >= 0 and context.startswith(text, start):
        return start, text
    wide = _from_utf16(start, context)
    if wide is not None and context.startswith(text, wide):
        return wide, text
    words = r"\s+".join(map(re.escape, bare.split()))
    pattern = re.compile(f"(?=({words}))")  # finds occurrences that overlap, too
    found: list[tuple[int, int, str]] = []
    for given in {start + len(text) - len(text.lstrip()), start if wide is None else wide}:
        near = pattern.finditer(context, max(0, given - NEAR), max(0, given + NEAR) + 2 * len(bare))
        found += [(abs(at.start() - given), at.start(), at[1]) for at in near if abs(at.start() - given) <= NEAR]
    if not found:
        return None
    _, first, matched = min(found)
    return first, matched


def _from_utf16(start: int, context: str) -> int | None:
    """Return the character at an offset in UTF-16 units, None where it is the same."""
    units = context.encode("utf-16-le", "surrogatepass")
    if not 0 <= 2 * start <= len(units):
        return None
    at = len(units[: 2 * start].decode("utf-16-le", "replace"))
    return None if at == start else at


def _answers_of(row: Fields) -> Any:
    """Return the answers of a row in one of SQuAD's forms, None if the row has none of the fields."""
    if row.get("answers") is not None:
        return row["answers"]
    text = next((row[name] for name in _SINGLE if row.get(name) is not None), None)
    start = row.get("answer_start")
    if isinstance(start, str | float):
        start = _as_int(start)
    return None if text is None else [] if text == "" else [{"text": text, "answer_start": start}]


def _as_int(value: str | float) -> int | None:
    # A table written by pandas has 17.0 where other rows have none.
    try:
        number = float(value)
    except ValueError:
        return None
    return int(number) if number.is_integer() else None


def _is_true(value: Any) -> bool:
    return value.strip().casefold() in ("true", "1", "yes") if isinstance(value, str) else bool(value)
