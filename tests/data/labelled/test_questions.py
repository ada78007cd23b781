"""Questions are read from SQuAD's files, and answers that drifted are put right."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskling.data.labelled.columns import Columns
from maskling.data.labelled.read_questions import NEAR, locate
from maskling.data.labelled.reader import RecordFile, read_records
from maskling.data.labelled.records import Answer, QuestionRecord
from maskling.errors import DataError


def read_questions(path: str, *, skip: bool = False, answered: bool = False) -> RecordFile:
    columns = Columns(on_bad_row="skip" if skip else "stop")
    return read_records(path, "answer", columns, labels="required" if answered else "optional")


CONTEXT = "Kermit sings. Miss Piggy sings too, and Gonzo flies." + " " * 60 + "Miss Piggy left."


def squad(folder, *questions, name="dev.json", context=CONTEXT):
    path = folder / name
    paragraphs = [{"context": context, "qas": list(questions)}]
    path.write_text(json.dumps({"version": "v2.0", "data": [{"title": "Muppets", "paragraphs": paragraphs}]}))
    return str(path)


def question(start, text="Miss Piggy", **more):
    return {"id": "q1", "question": "Who?", "answers": [{"text": text, "answer_start": start}], **more}


def test_squad_1_and_2(tmp_path):
    none = {"id": "q2", "question": "Why?", "answers": [], "plausible_answers": [], "is_impossible": True}
    unanswered = {"id": "q3", "question": "When?"}
    path = squad(tmp_path, question(14, is_impossible=False), none, unanswered)
    found = read_questions(path)
    assert found.records == [
        QuestionRecord("q1", "Who?", CONTEXT, (Answer("Miss Piggy", 14),)),
        QuestionRecord("q2", "Why?", CONTEXT, (), impossible=True),
        QuestionRecord("q3", "When?", CONTEXT),
    ]
    assert found.warnings == []


def test_lines_as_the_hub_has_them(tmp_path):
    path = tmp_path / "a.jsonl"
    rows = [
        {"question": "Who?", "context": CONTEXT, "answers": {"text": ["Gonzo", "Kermit"], "answer_start": [40, 0]}},
        {"id": "x", "question": "Why?", "context": CONTEXT, "answers": {"text": [], "answer_start": []}},
        {"question": "Who?", "context": CONTEXT},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    records = read_questions(str(path)).records
    assert records[0] == QuestionRecord("a.jsonl:1", "Who?", CONTEXT, (Answer("Gonzo", 40), Answer("Kermit", 0)))
    assert [(record.id, record.impossible) for record in records[1:]] == [("x", True), ("a.jsonl:3", False)]


def test_an_answer_a_few_characters_off_is_moved_and_counted(tmp_path):
    found = read_questions(squad(tmp_path, question(11)))
    assert found.records[0].answers == (Answer("Miss Piggy", 14),)
    assert "1 answers were not at 'answer_start' and were moved" in found.warnings[0]
    assert "q1" in found.warnings[0]


def test_an_answer_that_is_not_there_keeps_its_text_and_loses_its_place(tmp_path):
    found = read_questions(squad(tmp_path, question(14, "Fozzie"), question(70, "Kermit")))
    assert [record.answers[0] for record in found.records] == [Answer("Fozzie", -1), Answer("Kermit", -1)]
    assert "2 answers are not near 'answer_start'" in found.warnings[0]


@pytest.mark.parametrize(
    ("context", "text", "start", "expected"),
    [
        # Offsets as JavaScript counts them: an emoji is two units.
        ("\U0001f600\U0001f600 in Rome, not in Rome", "Rome", 8, Answer("Rome", 6)),
        ("\U0001f600" * 40 + " in Rome", "Rome", 84, Answer("Rome", 44)),
        ("The Normans lived", " The Normans ", 0, Answer("The Normans", 0)),
        ("The  Normans lived", "The Normans", 0, Answer("The  Normans", 0)),
        ("x\u00a0y z", "x y", 0, Answer("x\u00a0y", 0)),
        ("a Rome and Rome b", "Rome", 9, Answer("Rome", 11)),  # the nearer of two
    ],
)
def test_answers_are_found_whatever_counts_their_place(tmp_path, context, text, start, expected):
    path = tmp_path / "a.jsonl"
    path.write_text(
        json.dumps({"question": "?", "context": context, "answers": {"text": [text], "answer_start": [start]}})
    )
    (record,) = read_questions(str(path)).records
    assert record.answers == (expected,)
    assert record.context[record.answers[0].start : record.answers[0].end] == record.answers[0].text


@given(context=st.text("ab", max_size=120), start=st.integers(-3, 130), text=st.text("ab", max_size=9))
def test_a_located_answer_is_where_it_should_be_or_the_nearest_one(context, start, text):
    found = locate(text, start, context)
    near = [
        place
        for place in range(max(0, start - NEAR), min(len(context), start + NEAR) + 1)
        if text and context[place : place + len(text)] == text
    ]
    if start in near:
        assert found == (start, text)
    else:
        nearest = min(near, key=lambda place: (abs(place - start), place), default=None)
        assert found == (None if nearest is None else (nearest, text))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is not JSON"),
        ('{"a": 1}\n{"a": 2}\n', "name JSON Lines .jsonl"),
        ('{"rows": []}', "has no list 'data'"),
        ('{"data": [{"title": "x"}]}', "article 1 has no list 'paragraphs'"),
        ('{"data": [{"paragraphs": [{"qas": []}]}]}', "article 1 has a paragraph without 'context'"),
        (
            '{"data": [{"paragraphs": [{"context": "c", "qas": [{"id": "q7"}]}]}]}',
            "question q7 has no text in 'question'",
        ),
        (
            '{"data": [{"paragraphs": [{"context": "c", "qas": [{"id": "q7", "question": "?", "answers": [1]}]}]}]}',
            "question q7 has an answer without",
        ),
        ('{"data": []}', "has no records"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path, text, said):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(DataError) as raised:
        read_questions(str(path))
    assert said in str(raised.value)


def test_bad_questions_can_be_left_out(tmp_path):
    found = read_questions(squad(tmp_path, {"id": "bad"}, question(14)), skip=True)
    assert [record.id for record in found.records] == ["q1"]
    assert "1 rows left out" in found.warnings[0]
    path = tmp_path / "b.jsonl"
    path.write_text('{"question": "?", "contxt": "x"}\n')
    with pytest.raises(DataError, match=r"b.jsonl:1 has no text in 'context' .* did you mean 'contxt'"):
        read_questions(str(path))


def test_questions_without_an_answer_can_be_left_out(tmp_path):
    impossible = {"id": "q2", "question": "Why?", "answers": [], "is_impossible": True}
    path = squad(tmp_path, question(14), impossible, {"id": "q3", "question": "When?"})
    assert len(read_questions(path, skip=True).records) == 3
    assert len(read_questions(path, answered=True).records) == 3
    found = read_questions(path, skip=True, answered=True)
    assert [record.id for record in found.records] == ["q1", "q2"]
    assert "question q3 has no answer" in found.warnings[0]


ANSWERED = [("Who?", "Gonzo", 40), ("Why?", "", None), ("Which?", "Kermit", 0)]


def of_lines():
    rows = [
        {"question": question, "context": CONTEXT, "answer": text, "answer_start": start}
        for question, text, start in ANSWERED
    ]
    return "".join(json.dumps(row) + "\n" for row in rows)


def of_table(mark, starts=str):
    rows = [(question, CONTEXT, text, "" if start is None else starts(start)) for question, text, start in ANSWERED]
    lines = [("question", "context", "answer_text", "answer_start"), *rows]
    quote = '"' if mark == "," else ""
    return "".join(mark.join(f"{quote}{cell}{quote}" for cell in line) + "\n" for line in lines)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.jsonl", of_lines()),
        ("a.csv", of_table(",")),
        ("a.csv", of_table(",", lambda start: f"{start}.0")),  # as pandas writes it
        ("a.tsv", of_table("\t")),
    ],
)
def test_one_answer_a_row(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    found = read_questions(str(path))
    assert [(record.question, record.answers, record.impossible) for record in found.records] == [
        ("Who?", (Answer("Gonzo", 40),), False),
        ("Why?", (), True),
        ("Which?", (Answer("Kermit", 0),), False),
    ]
    assert found.warnings == []


def test_what_a_table_calls_impossible_is(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("question,context,answer,answer_start,is_impossible\na,a fox,fox,2,False\nb,a fox,,,True\n")
    assert [record.impossible for record in read_questions(str(path)).records] == [False, True]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.csv", "question,context,answer\nq,a fox,fox\n", "a.csv:2 has an answer without 'text' and 'answer_start'"),
        ("a.csv", "question,context,answer,answer_start\nq,a fox,fox,two\n", "a.csv:2 has an answer without 'text'"),
        (
            "a.csv",
            "question,context,answers\nq,a fox,{'text': 3}\n",
            "a.csv:2 has answers that are not a list; put a single one",
        ),
        ("a.csv", "question,context,answer,answer\nq,a fox,a,b\n", "several columns named 'answer'"),
        ("a.txt", "q\ta fox\n", "texts without labels; give .jsonl, .csv or .tsv"),
    ],
)
def test_what_is_wrong_with_rows_is_said(tmp_path, name, text, said):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(DataError) as raised:
        read_questions(str(path))
    assert said in str(raised.value)
