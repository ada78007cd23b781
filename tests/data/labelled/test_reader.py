"""Every form in which people have what they want judged, and standard input as it comes."""

from __future__ import annotations

import gzip
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from maskling.data.labelled.columns import Columns
from maskling.data.labelled.reader import GROUP_CHARACTERS, GROUP_RECORDS, RecordReader
from maskling.data.labelled.records import QuestionRecord, RecordKind, TaggedRecord, TextRecord
from maskling.errors import DataError

SQUAD = {
    "data": [
        {
            "paragraphs": [
                {
                    "context": "The fox sees Paris.",
                    "qas": [{"id": "q1", "question": "Who sees Paris?", "answers": []}],
                }
            ]
        }
    ]
}
CASES: dict[str, tuple[RecordKind, str, str, list[Any]]] = {
    "texts": (
        "classify",
        "a.jsonl",
        '{"text": "one", "label": "x"}\n\n{"text": "two"}\n',
        [TextRecord("a.jsonl:1", "one"), TextRecord("a.jsonl:3", "two")],
    ),
    "a list": ("regress", "a.json", '[{"sentence": "one"}]', [TextRecord("a.json:1", "one")]),
    "pairs": (
        "classify",
        "a.jsonl",
        '{"premise": "one", "hypothesis": "two"}',
        [TextRecord("a.jsonl:1", "one", "two")],
    ),
    "a table": (
        "classify",
        "a.csv",
        'text,label\n"one, two",x\nthree,y\n',
        [TextRecord("a.csv:2", "one, two"), TextRecord("a.csv:3", "three")],
    ),
    "a table of pairs": (
        "multi-label",
        "a.tsv",
        "sentence1\tsentence2\none\ttwo\n",
        [TextRecord("a.tsv:2", "one", "two")],
    ),
    "lines": (
        "classify",
        "a.txt",
        "one\n\n  two words \n{\n",
        [TextRecord("a.txt:1", "one"), TextRecord("a.txt:3", "two words"), TextRecord("a.txt:4", "{")],
    ),
    "pairs in lines": ("classify", "a.txt", "one\ttwo\n", [TextRecord("a.txt:1", "one", "two")]),
    "columns of words": (
        "tag",
        "a.conll",
        "The\tO\nfox\tB-X\n\nsees\tO\n",
        [TaggedRecord("a.conll:1", ("The", "fox"), ("O", "B-X")), TaggedRecord("a.conll:4", ("sees",), ("O",))],
    ),
    "lists of words": (
        "tag",
        "a.jsonl",
        '{"tokens": ["The", "fox"]}',
        [TaggedRecord("a.jsonl:1", ("The", "fox"))],
    ),
    "texts to tag": ("tag", "a.jsonl", '{"text": "The fox"}', [TextRecord("a.jsonl:1", "The fox")]),
    "a table to tag": (
        "tag",
        "a.csv",
        'id,text\n1,Obama saw Paris today\n2,"Angela, in Berlin"\n',
        [TextRecord("a.csv:2", "Obama saw Paris today"), TextRecord("a.csv:3", "Angela, in Berlin")],
    ),
    "lines to tag": ("tag", "a.txt", "The fox\tsees\n", [TextRecord("a.txt:1", "The fox\tsees")]),
    "squad": (
        "answer",
        "a.json",
        json.dumps(SQUAD),
        [QuestionRecord("q1", "Who sees Paris?", "The fox sees Paris.", (), True)],
    ),
    "questions": (
        "answer",
        "a.jsonl",
        '{"question": "who?", "context": "a fox", "id": 7}\n{"question": "who?", "context": "b"}',
        [QuestionRecord("7", "who?", "a fox"), QuestionRecord("a.jsonl:2", "who?", "b")],
    ),
    "a table of questions": (
        "answer",
        "a.csv",
        "question,context\nwho?,a fox\n",
        [QuestionRecord("a.csv:2", "who?", "a fox")],
    ),
    "questions in lines": ("answer", "a.txt", "who?\ta fox\n", [QuestionRecord("a.txt:1", "who?", "a fox")]),
}


def read(path: Path | str, kind: RecordKind, columns: Columns | None = None) -> list[Any]:
    return [record for records in RecordReader(str(path), kind, columns) for record in records]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("packed", [False, True])
def test_files_are_read(tmp_path: Path, case: str, packed: bool) -> None:
    kind, name, text, expected = CASES[case]
    path = tmp_path / (f"{name}.gz" if packed else name)
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    found = read(path, kind)
    assert [record.id.replace(".gz", "") for record in found] == [record.id for record in expected]
    for one, other in zip(found, expected, strict=True):
        fields = {field for field in type(other).__slots__ if field not in ("id", "impossible", "row")}
        assert type(one) is type(other)
        assert {field: getattr(one, field) for field in fields} == {field: getattr(other, field) for field in fields}


@pytest.mark.parametrize(
    ("kind", "name", "text", "message"),
    [
        ("classify", "a.jsonl", '{"text": "one"}\n{"text": 7}\n', r"a\.jsonl:2 has no text in 'text'"),
        ("classify", "a.jsonl", '{"text": "one"}\n[1]\n', r"a\.jsonl:2 is not an object"),
        ("classify", "a.jsonl", '{"text": "one"}\n{"text"\n', r"a\.jsonl:2 is not JSON"),
        ("classify", "a.jsonl", '{"story": "one"}', "no column with a name known for texts, but 'story'"),
        (
            "tag",
            "a.csv",
            "Word,Tag\nParis,B-LOC\n",
            "a.csv:1 has one word per row and no column with a name known for the number of the sentence",
        ),
        ("classify", "a.docx", "x", r"files that end in '\.docx' are not read"),
        ("classify", "a.txt", "\n \n", r"a\.txt"),
        ("classify", "a.csv", "text,text\none,two\n", "a.csv has several columns named 'text'"),
        ("answer", "a.csv", "question,context,context\none,two,three\n", "several columns named 'context'"),
        ("answer", "a.txt", "who?\n", "not a question and its context with a tab between them"),
        ("answer", "a.jsonl", '{"question": "who?"}', "has no text in 'context' but question"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, kind: RecordKind, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message):
        read(tmp_path / name, kind)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such file"):
        read(tmp_path / "a.jsonl", "classify")


def test_bad_rows_can_be_left_out_and_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n{"text": 7}\n{"text": "two"}\n')
    inputs = RecordReader(str(tmp_path / "a.jsonl"), "classify", Columns(on_bad_row="skip"))
    assert [record.text for records in inputs for record in records] == ["one", "two"]
    assert "1 rows left out" in inputs.warnings[0]


def test_a_column_can_be_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"story": "one", "text": "two"}\n')
    assert read(tmp_path / "a.jsonl", "classify", Columns(text="story")) == [TextRecord("a.jsonl:1", "one")]


def test_long_files_come_a_few_records_at_a_time(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("".join(f"text {number}\n" for number in range(2 * GROUP_RECORDS + 3)))
    assert [len(records) for records in RecordReader(str(tmp_path / "a.txt"), "classify")] == [
        GROUP_RECORDS,
        GROUP_RECORDS,
        3,
    ]


def test_long_texts_come_fewer_at_a_time(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(f"{'word ' * (GROUP_CHARACTERS // 10)}\n" * 5)
    assert [len(records) for records in RecordReader(str(tmp_path / "a.txt"), "classify")] == [3, 2]


class Arriving(io.RawIOBase):
    """Standard input that comes in the given blocks, and fails if it is read further than was asked for."""

    def __init__(self, blocks: list[bytes]) -> None:
        self.blocks = blocks
        self.given = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self.given == len(self.blocks):
            return 0
        block = self.blocks[self.given]
        self.given += 1
        buffer[: len(block)] = block
        return len(block)


def standard_input(monkeypatch: pytest.MonkeyPatch, blocks: list[bytes]) -> Arriving:
    raw = Arriving(blocks)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(raw)))
    return raw


def test_standard_input_is_answered_as_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = standard_input(
        monkeypatch, [b"\xef\xbb\xbfone\ntw", b"o\n", "drei\u00e9".encode()[:-1], b"\xa9\n", b"\n four"]
    )
    found = []
    for records in RecordReader("-", "classify"):
        found.append(([record.text for record in records], raw.given))
    assert found == [(["one"], 1), (["two"], 2), (["dreié"], 4), (["four"], 5)]


def test_standard_input_of_objects_is_json_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    standard_input(monkeypatch, [b'{"text": "one"}\r\n', b'{"text": "two", "text_pair": "three"}'])
    assert read("-", "classify") == [TextRecord("stdin:1", "one"), TextRecord("stdin:2", "two", None)]


def test_much_that_comes_at_once_is_parted(monkeypatch: pytest.MonkeyPatch) -> None:
    standard_input(monkeypatch, [b"word\n" * (GROUP_RECORDS + 2)])
    assert [len(records) for records in RecordReader("-", "classify")] == [GROUP_RECORDS, 2]


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ([b"one\n\xff\xfe\n"], "line 2, is not UTF-8"),
        ([b'{"text": "a"}\nplain\n'], "-:2 is not JSON"),
        ([b""], "- has no records"),
    ],
)
def test_bad_standard_input_is_named(monkeypatch: pytest.MonkeyPatch, blocks: list[bytes], message: str) -> None:
    standard_input(monkeypatch, blocks)
    with pytest.raises(DataError, match=message):
        read("-", "classify")


def test_closed_standard_input_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(DataError, match="standard input is closed"):
        read("-", "classify")
