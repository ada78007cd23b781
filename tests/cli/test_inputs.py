"""Texts for a verb: read alike from arguments, files, pipes and standard input, one line at a time."""

from __future__ import annotations

import gzip
import io
import json
import os
import sys
import threading
from pathlib import Path

import pytest

from maskling.cli import texts as inputs
from maskling.cli.texts import is_text, read_one_text, read_texts
from maskling.errors import CorpusError, SettingsError

LINES = b"\xef\xbb\xbffirst line\r\n\n  second\t\n \nthird"
TEXTS = ["first line", "second", "third"]


def standard_input(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_arguments_are_taken_as_they_are(tmp_path: Path):
    texts = read_texts((" a", "", "b\nc"), None)
    assert (len(texts), texts.empty_lines, list(texts), list(texts)) == (3, 0, [" a", "", "b\nc"], [" a", "", "b\nc"])


@pytest.mark.parametrize("spool_bytes", [1, 1 << 20])
@pytest.mark.parametrize("way", ["file", "argument", "option", "nothing", "pipe"])
def test_lines_are_the_same_from_everywhere_and_can_be_read_again(
    way: str, spool_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(inputs, "_SPOOL_BYTES", spool_bytes)
    path = tmp_path / "lines.txt"
    if way == "file":
        path.write_bytes(LINES)
    elif way == "pipe":
        os.mkfifo(path)
        threading.Thread(target=path.write_bytes, args=(LINES,)).start()
    else:
        standard_input(monkeypatch, LINES)
    arguments, file = {"argument": (("-",), None), "option": ((), Path("-")), "nothing": ((), None)}.get(
        way, ((), path)
    )
    texts = read_texts(arguments, file)
    assert (len(texts), texts.empty_lines) == (3, 2)
    assert list(texts) == list(texts) == TEXTS


def test_text_that_is_not_utf_8_is_named_by_file_line_and_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    data = "schön\n\nétage ".encode() + b"\xff\n"
    (tmp_path / "bad.txt").write_bytes(data)
    with pytest.raises(CorpusError, match=r"bad.txt, line 3 is not UTF-8 \(byte 15\)"):
        read_texts((), tmp_path / "bad.txt")
    standard_input(monkeypatch, data)
    with pytest.raises(CorpusError, match=r"^standard input, line 3 is not UTF-8 \(byte 15\)"):
        read_texts((), None)


def test_a_file_that_grows_keeps_its_count_and_one_that_shrinks_is_an_error(tmp_path: Path):
    path = tmp_path / "log.txt"
    path.write_text("a\nb\n")
    texts = read_texts((), path)
    path.write_text("a\nb\nc\n")
    assert list(texts) == ["a", "b"]
    path.write_text("a\n")
    with pytest.raises(CorpusError, match="became shorter"):
        list(texts)


def test_what_holds_no_text_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "empty.txt").write_text(" \n\n")
    with pytest.raises(CorpusError, match="has no text"):
        read_texts((), tmp_path / "empty.txt")
    with pytest.raises(CorpusError, match="is a folder"):
        read_texts((), tmp_path)
    with pytest.raises(CorpusError, match="there is no such file"):
        read_texts((), tmp_path / "none.txt")
    with pytest.raises(SettingsError, match="not both"):
        read_texts(("a",), tmp_path / "empty.txt")
    with pytest.raises(SettingsError, match=r"is a file; to read it give --file"):
        read_texts((str(tmp_path / "empty.txt"),), None)
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(SettingsError, match="there is no text"):
        read_texts((), None)
    with pytest.raises(SettingsError, match="standard input is closed"):
        read_texts(("-",), None)


def test_a_verb_of_one_text_reads_one_line_of_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert read_one_text("a\nb") == "a\nb"
    standard_input(monkeypatch, b"\n the one \n")
    assert read_one_text("-") == "the one"
    standard_input(monkeypatch, b"one\ntwo\n")
    with pytest.raises(SettingsError, match="2 lines of text"):
        read_one_text("-")
    (tmp_path / "a.txt").write_text("a")
    with pytest.raises(SettingsError, match="is a file; give its text"):
        read_one_text(str(tmp_path / "a.txt"))


RECORDS = ["a first text", "the second, with a comma", "third"]


def written(folder: Path) -> dict[str, Path]:
    """Write the same three texts in every format, and return the files by name."""
    rows = "".join(json.dumps({"text": text, "label": "x"}) + "\n" for text in RECORDS)
    table = "text,label\n" + "".join(f'"{text}",x\n' for text in RECORDS)
    contents = {
        "lines.txt": "\n".join(RECORDS).encode(),
        "rows.jsonl": rows.encode(),
        "table.csv": table.encode(),
        "table.tsv": ("label\ttext\n" + "".join(f"x\t{text}\n" for text in RECORDS)).encode(),
        "rows.jsonl.gz": gzip.compress(rows.encode()),
        "lines.txt.gz": gzip.compress("\n".join(RECORDS).encode()),
        "lines": gzip.compress("\n".join(RECORDS).encode()),
    }
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table({"text": RECORDS}), folder / "table.parquet")
    return {name: folder / name for name in (*contents, "table.parquet")}


@pytest.mark.parametrize(
    "name",
    ["lines.txt", "rows.jsonl", "table.csv", "table.tsv", "rows.jsonl.gz", "lines.txt.gz", "lines", "table.parquet"],
)
def test_the_texts_of_a_file_are_those_of_its_records_in_every_format(name: str, tmp_path: Path):
    texts = read_texts((), written(tmp_path)[name])
    assert list(texts) == list(texts) == RECORDS
    assert (len(texts), texts.empty_lines) == (3, 0)
    assert name in texts.where(1)


def test_json_lines_are_recognized_on_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    standard_input(monkeypatch, written(tmp_path)["rows.jsonl"].read_bytes())
    assert list(read_texts((), None)) == RECORDS
    standard_input(monkeypatch, b'{"body": "one"}\n{"body": "two"}\n')
    assert list(read_texts(("-",), None, text_field="body")) == ["one", "two"]
    standard_input(monkeypatch, b'{"body": "one"}\n')
    assert list(read_texts((), None, (("corpus.format", "plain"),))) == ['{"body": "one"}']


def test_the_field_with_the_text_can_be_named_and_a_missing_one_is_an_error(tmp_path: Path):
    path = tmp_path / "reviews.csv"
    path.write_text("review,label\none text,x\n,y\nanother,x\n")
    texts = read_texts((), path, text_field="review")
    assert (list(texts), texts.empty_lines) == (["one text", "another"], 1)
    assert list(read_texts((), path, (("corpus.text-field", "review"),))) == ["one text", "another"]
    with pytest.raises(CorpusError, match=r"no field 'text'; its fields: review, label"):
        read_texts((), path)
    with pytest.raises(SettingsError, match="--text-field sets how a file is read"):
        read_texts(("a text",), None, text_field="review")
    with pytest.raises(SettingsError, match="did you mean 'text_field'"):
        read_texts((), path, (("corpus.text-fields", "review"),))


def test_a_record_that_cannot_be_read_is_an_error_because_it_would_shift_the_others(tmp_path: Path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "one"}\n{"text": \n{"text": "three"}\n')
    with pytest.raises(CorpusError, match=r"rows.jsonl: line 2 is not JSON"):
        read_texts((), path)
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.4")
    with pytest.raises(CorpusError, match=r"a.pdf: '.pdf' files are not read"):
        read_texts((), tmp_path / "a.pdf")
    (tmp_path / "cut.txt.gz").write_bytes(gzip.compress(b"one\ntwo\n" * 1000)[:30])
    with pytest.raises(CorpusError, match=r"cut.txt.gz is damaged"):
        read_texts((), tmp_path / "cut.txt.gz")


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("a text", True), ("What is it?", True), ("my reviews.csv", False), ("word", False), ("a/b *.txt", False),
        ("https://example.com/a b", False), ("ein Satz.", True),
    ],
)  # fmt: skip
def test_words_among_files_are_a_text_unless_they_may_name_a_file(argument: str, expected: bool):
    assert is_text(argument) is expected
