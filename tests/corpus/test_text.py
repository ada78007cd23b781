from __future__ import annotations

import io
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest

from maskling.corpus.opening import ReadReport
from maskling.corpus.reading import read_documents
from maskling.corpus.settings import CorpusSettings
from maskling.corpus.sources import expand

TEXT = b"One sentence. And another.\nA line below.\n\n \n\nThe second block.\n\nThird.\n"


@pytest.mark.parametrize(
    ("plain", "expected"),
    [
        ("file", [TEXT.decode()]),
        ("blank-line", ["One sentence. And another.\nA line below.\n", "The second block.\n", "Third.\n"]),
        ("line", ["One sentence. And another.\n", "A line below.\n", "The second block.\n", "Third.\n"]),
        ("sentence-per-line", ["One sentence. And another.\nA line below.\n", "The second block.\n", "Third.\n"]),
    ],
)
def test_four_conventions(read_file: Any, plain: str, expected: list[str]) -> None:
    documents, report = read_file("a.txt", TEXT, plain=plain)
    assert [document.text for document in documents] == expected
    assert [document.id for document in documents] == [f"a.txt:{i + 1}" for i in range(len(expected))]
    assert all(document.line_sentences == (plain == "sentence-per-line") for document in documents)
    assert report.problems() == []


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xef\xbb\xbf"])
def test_an_empty_file_is_reported(read_file: Any, content: bytes) -> None:
    documents, report = read_file("a.txt", content)
    assert documents == []
    assert report.bad_files[0].problem().endswith("a.txt: has no text; nothing kept")


@pytest.mark.parametrize("plain", ["file", "blank-line", "line"])
@pytest.mark.parametrize("text", ["word " * 100_000, "a line of words\n" * 30_000])
def test_a_text_longer_than_the_limit_becomes_several_and_loses_nothing(read_file: Any, plain: str, text: str) -> None:
    documents, _ = read_file("a.txt", text.encode(), plain=plain, max_document_characters=100_000)
    assert "".join(document.text for document in documents) == text
    assert len(documents) >= 4
    # A block of the file may complete the piece that reaches the limit.
    assert max(len(document.text) for document in documents) <= 100_000 + (1 << 16)
    for before, after in pairwise(documents):
        assert before.text[-1].isspace() or after.text[0].isspace()


def test_five_megabytes_on_one_line_are_one_document(read_file: Any) -> None:
    documents, _ = read_file("a.txt", b"word " * 1_000_000)
    assert [len(document.text) for document in documents] == [5_000_000]


def test_an_unknown_suffix_is_read_as_text_and_known_others_say_what_to_do(read_file: Any) -> None:
    assert read_file("notes.log", b"some words")[0][0].text == "some words"
    _, report = read_file("a.docx", b"PK")
    assert "'.docx' files are not read: save it as plain text" in report.problems()[0]
    _, report = read_file("a.json", b"[1]")
    assert "the value at line 1 is a number, not an object with fields" in report.problems()[0]


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"one\n\ntwo\n")))
    found = [
        document for _, document in read_documents(expand(["-"]), CorpusSettings(plain="blank-line"), ReadReport())
    ]
    assert [(document.id, document.text) for document in found] == [("-:1", "one\n"), ("-:2", "two\n")]
