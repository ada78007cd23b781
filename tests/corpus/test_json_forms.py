"""JSON as lists, objects over several lines, wrapped lists and joined files gives the rows that `json.load` gives."""

from __future__ import annotations

import bz2
import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskling.corpus.document import Source
from maskling.corpus.opening import FileReport
from maskling.corpus.readers.json_values import JsonError, read_rows
from maskling.corpus.readers.jsonl import read_jsonl
from maskling.corpus.settings import CorpusSettings

ROWS = [{"text": f'Text {i} with [brackets], {{braces}} and "quotes" é', "n": [i, {"x": None}]} for i in range(13)]
TEXTS = [row["text"] for row in ROWS]


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
@pytest.mark.parametrize("indent", [None, 0, 2])
def test_a_list_of_objects(read_file: Any, name: str, indent: int | None) -> None:
    documents, report = read_file(name, json.dumps(ROWS, indent=indent).encode())
    assert [d.text for d in documents] == TEXTS
    assert documents[4].id == f"{name}:5"
    assert report.problems() == []


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.ndjson"])
@pytest.mark.parametrize("between", ["", "\n", "\n\n"])
def test_objects_over_several_lines(read_file: Any, name: str, between: str) -> None:
    documents, report = read_file(name, between.join(json.dumps(row, indent=2) for row in ROWS).encode())
    assert ([d.text for d in documents], report.problems()) == (TEXTS, [])


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_json_lines_whatever_the_suffix(read_file: Any, name: str) -> None:
    documents, report = read_file(name, "\n".join(map(json.dumps, ROWS)).encode())
    assert ([d.text for d in documents], report.problems()) == (TEXTS, [])


@pytest.mark.parametrize("indent", [None, 2])
def test_a_list_in_an_object_by_a_dotted_field(read_file: Any, indent: int | None) -> None:
    content = json.dumps({"version": {"text": "no"}, "data": ROWS, "count": 13}, indent=indent).encode()
    documents, report = read_file("a.json", content, text_field="data.text")
    assert ([d.text for d in documents], report.problems()) == (TEXTS, [])
    problem = read_file("a.json", content)[1].problems()[0]
    assert "has no field 'text'; its fields: version, data, count; set corpus.text_field to " in problem
    squad = {"data": [{"title": "T", "paragraphs": [{"context": "One."}, {"context": "Two."}]}]}
    documents, _ = read_file("a.json", json.dumps(squad, indent=indent).encode(), text_field="data.paragraphs.context")
    assert [d.text for d in documents] == ["One.\n\nTwo."]
    documents, _ = read_file(
        "a.json", json.dumps(squad).encode(), text_field="data.title,data.paragraphs.context", id_field="data.title"
    )
    assert [(d.id, d.text) for d in documents] == [("T", "T\n\nOne.\n\nTwo.")]


def test_marks_in_the_middle_of_joined_files(read_file: Any) -> None:
    content = "".join(f"\ufeff{json.dumps(row)}\n" for row in ROWS).encode()
    documents, report = read_file("a.jsonl", content)
    assert ([d.text for d in documents], report.problems()) == (TEXTS, [])
    assert [d.text for d in read_file("a.json", f"\ufeff{json.dumps(ROWS)}\n\ufeff{json.dumps(ROWS)}".encode())[0]] == (
        TEXTS * 2
    )


def test_lists_and_messages_are_joined_by_blank_lines(read_file: Any) -> None:
    rows = [
        {"text": ["One.", "Two.", None, ""]},
        {"text": [{"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Hi."}]},
        {"text": [{"value": "A"}, {"text": "B", "value": "no"}, "C"]},
        {"text": [{"role": "user", "content": [{"type": "text", "text": "D"}]}]},
        {"text": []},
    ]
    documents, report = read_file("a.jsonl", "\n".join(map(json.dumps, rows)).encode())
    assert [d.text for d in documents] == ["One.\n\nTwo.", "Hello.\n\nHi.", "A\n\nB\n\nC", "D", ""]
    assert "1 document has no text" in report.problems()[0]
    documents, _ = read_file(
        "a.jsonl", json.dumps({"m": [{"body": "A"}, {"body": "B"}]}).encode() + b"\n{}", text_field="m.body"
    )
    assert [d.text for d in documents] == ["A\n\nB"]


def test_texts_without_objects(read_file: Any) -> None:
    assert [d.text for d in read_file("a.json", b'["One.", "Two."]')[0]] == ["One.", "Two."]
    assert [d.text for d in read_file("a.jsonl", b'"One."\n"Two."\n')[0]] == ["One.", "Two."]


def test_several_fields(read_file: Any) -> None:
    rows = [{"title": "T", "text": "x"}, {"title": None, "text": "y"}, {"text": "z"}, {"a,b": "w"}]
    content = "\n".join(map(json.dumps, rows)).encode()
    documents, report = read_file("a.jsonl", content, text_field="title,text")
    assert [d.text for d in documents] == ["T\n\nx", "y", "z"]
    assert "line 3 has no field 'title'; its fields: text" in report.problems()[0]
    assert report.bad_files[0].num_faults == 2
    assert CorpusSettings(text_field=("title", "text")).text_field == "title,text"  # type: ignore[arg-type]
    assert [d.text for d in read_file("a.jsonl", content, text_field="a,b")[0]] == ["w"]


def test_no_row_is_lost_for_its_name(read_file: Any) -> None:
    rows = [{"id": value, "text": "x"} for value in (None, "a", 3.0, 2.5, True, [1], 7)]
    documents, report = read_file("a.jsonl", "\n".join(map(json.dumps, [*rows, {"text": "x"}])).encode(), id_field="id")
    assert [d.id for d in documents] == ["a.jsonl:1", "a", "3", "2.5", "a.jsonl:5", "a.jsonl:6", "7", "a.jsonl:8"]
    assert "4 documents have no name in 'id' and are named by line or row" in report.problems()[0]


@pytest.mark.parametrize(
    ("content", "says", "kept"),
    [
        ('[{"text": "a"}, {"text": "b"', "line 1 is cut off: the JSON does not end", 1),
        ('[{"text": "a"}, {"text": "b', "line 1 is cut off: the JSON does not end", 1),
        ('[{"text": "a"},\n{"text": "b"}', "line 2 is cut off", 2),
        ('[{"text": "a"},\n{"text": b}, {"text": "c"}]', "line 2 is not JSON", 1),
        ('[{"text": "a"}\n{"text": "b"}]', "line 2 is not JSON (a list has no ',' between its items)", 1),
        ("[" * 100_000 + "]" * 100_000, "nested too deeply", 0),
    ],
)
def test_broken_json_is_one_line_after_what_came_before(read_file: Any, content: str, says: str, kept: int) -> None:
    documents, report = read_file("a.json", content.encode())
    assert len(documents) == kept
    assert says in report.problems()[0]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(
    items=st.lists(VALUES, max_size=6),
    indent=st.sampled_from([None, 0, 3]),
    ascii_only=st.booleans(),
    sizes=st.lists(st.integers(1, 7), min_size=1, max_size=3),
)
def test_rows_are_those_of_the_library_however_the_blocks_fall(
    items: list[Any], indent: int | None, ascii_only: bool, sizes: list[int]
) -> None:
    text = json.dumps(items, indent=indent, ensure_ascii=ascii_only)

    def blocks() -> Iterator[str]:
        at = turn = 0
        while at < len(text):
            yield text[at : at + sizes[turn % len(sizes)]]
            at += sizes[turn % len(sizes)]
            turn += 1

    assert [row for _, row, _ in read_rows(blocks(), None, 1 << 20)] == items


def test_a_value_longer_than_the_limit_names_the_way_out() -> None:
    text = json.dumps({"rows": ["x" * 100] * 3000})
    with pytest.raises(JsonError, match=r"line 1 begins a value of more than 1,000 characters.*corpus\.text_field"):
        list(read_rows(iter([text[:200_000], text[200_000:]]), None, 1000))


def test_a_long_list_is_read_in_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with path.open("w") as file:
        file.write('{"data": [' + ",".join(json.dumps({"text": "word " * 200}) for _ in range(20_000)) + "]}")
    settings = CorpusSettings(text_field="data.text")
    tracemalloc.start()
    count = sum(1 for _ in read_jsonl(Source(str(path)), settings, FileReport("")))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 20_000
    assert path.stat().st_size > 20_000_000 > 2 * peak


def test_the_index_lines_of_a_cirrus_dump_are_no_faults(read_file: Any) -> None:
    pairs = [({"index": {"_type": "page", "_id": str(i)}}, {"title": "T", "text": f"x{i}"}) for i in range(3)]
    lines = (json.dumps(row) for pair in pairs for row in pair)
    documents, report = read_file("a.json.bz2", bz2.compress("\n".join(lines).encode()))
    assert [d.text for d in documents] == ["x0", "x1", "x2"]
    assert report.problems()[0].endswith("3 lines are actions of an Elasticsearch file, without text")
    assert not report.bad_files


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
@pytest.mark.parametrize("plain_lines", [0, 2])
def test_lines_with_a_comma_after_each_row(read_file: Any, name: str, plain_lines: int) -> None:
    lines = [json.dumps(row) + ("" if number < plain_lines else ",") for number, row in enumerate(ROWS)]
    documents, report = read_file(name, "\n".join(lines).encode())
    assert ([d.text for d in documents], report.problems()) == (TEXTS, [])


@pytest.mark.parametrize("between", ["", ",", " , "])
def test_several_rows_on_one_line_of_many(read_file: Any, between: str) -> None:
    lines = [json.dumps(ROWS[0]), between.join(map(json.dumps, ROWS[1:5])), json.dumps(ROWS[5])]
    documents, report = read_file("a.jsonl", "\n".join(lines).encode())
    assert ([d.text for d in documents], report.problems()) == (TEXTS[:6], [])
    assert [d.id for d in documents] == ["a.jsonl:1", "a.jsonl:2", *(f"a.jsonl:2.{i}" for i in (2, 3, 4)), "a.jsonl:3"]


def test_a_tab_in_a_text_is_read_in_every_form(read_file: Any) -> None:
    rows = ['{"text": "a\tb"}', '{"text": "c"}']
    for content in ("\n".join(rows), f"[{','.join(rows)}]"):
        documents, report = read_file("a.jsonl", content.encode())
        assert ([d.text for d in documents], report.problems()) == (["a\tb", "c"], [])


def test_nan_is_a_missing_text_as_null_is(read_file: Any) -> None:
    documents, report = read_file("a.jsonl", b'{"text": NaN}\n{"text": null}\n{"text": "c"}\n')
    assert [d.text for d in documents] == ["", "", "c"]
    assert report.bad_files == []
