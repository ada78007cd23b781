"""Text that cannot be used is named in one line; what can be used beside it is used."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from pathlib import Path

import pytest
import zstandard

from commands import PREPARE, Command
from tiny_corpus import texts

LINES = "".join(json.dumps({"text": text}) + "\n" for text in texts(40)).encode()


def half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 255]) + data[middle + 1 :]


BAD = {
    "empty.txt": (b"", "has no text"),
    "blank.txt": (b"  \n\n \t\n", "has no text"),
    "binary.txt": (bytes(range(256)) * 40, "is binary, not text"),
    "zero.txt": (b"a text with a zero\0byte in it, long enough to keep", "is binary, not text"),
    "gbk.txt": ("这是一个用国标编码写的中文文件，内容够长。".encode("gbk"), "may be gb18030; set corpus.encoding"),
    "no.jsonl": (b"hello\nthis is no JSON\n", "line 1 is not JSON"),
    "array.jsonl": (b"[1]\n2\n", "the value at line 1 is a number, not an object with fields"),
    "field.jsonl": (b'{"body": "a text"}\n', "has no field 'text'; its fields: body; set corpus.text_field"),
    "type.jsonl": (b'{"text": 5}\n{"text": null}\n', "has a number in the field 'text', not text"),
    "deep.jsonl": (b'{"text":' + b"[" * 100_000 + b"\n", "nested too deeply"),
    "pretty.json": (b'[\n {"body": "a"}\n]\n', "has no field 'text'; its fields: body"),
    "column.csv": (b"a,b\n1,2\n", "has no field 'text'; its fields: a, b"),
    "no.parquet": (b"not parquet", "is not a complete Parquet file"),
    "no.epub": (b"not epub", "is not a complete EPUB"),
    "half.jsonl.gz": (half(gzip.compress(LINES)), "is damaged"),
    "flipped.jsonl.gz": (flipped(gzip.compress(LINES)), "is damaged"),
    "plain.jsonl.gz": (LINES, "is damaged: Not a gzipped file"),
    "half.jsonl.zst": (half(zstandard.compress(LINES)), "is damaged"),
    "half.jsonl.bz2": (half(bz2.compress(LINES)), "is damaged"),
    "half.jsonl.xz": (half(lzma.compress(LINES)), "is damaged"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_alone_is_an_error_and_among_others_a_warning(
    maskling: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    monkeypatch.chdir(tmp_path)
    content, said = BAD[name]
    Path(name).write_bytes(content)
    Path("good.jsonl").write_bytes(LINES)
    alone = maskling("prepare", name, "--out", "alone", *PREPARE).complaint
    assert name in alone
    assert said in alone
    assert not (tmp_path / "alone" / "manifest.json").exists()
    among = maskling("prepare", name, "good.jsonl", "--out", "among", *PREPARE)
    assert among.code == 0
    warnings = [line for line in among.err.splitlines() if line.startswith("warning: ") and name in line]
    assert len(warnings) == 1
    assert said in warnings[0]
    stopped = maskling("prepare", name, "good.jsonl", "--out", "strict", *PREPARE, "--corpus.on-bad-file", "stop")
    assert said in stopped.complaint


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"word\n", "too"),
        (b"", "no text"),
    ],
)
def test_a_corpus_of_nearly_nothing_says_why(maskling: Command, tmp_path: Path, content: bytes, said: str):
    (tmp_path / "small.txt").write_bytes(content)
    assert said in maskling("prepare", tmp_path / "small.txt", "--out", tmp_path / "x", *PREPARE).complaint


def test_one_document_is_prepared_with_a_warning_and_so_are_copies_of_it(maskling: Command, tmp_path: Path):
    (tmp_path / "one.jsonl").write_bytes(LINES.splitlines(keepends=True)[0] * 9)
    said = maskling("prepare", tmp_path / "one.jsonl", "--out", tmp_path / "x", *PREPARE)
    assert said.code == 0
    assert "1 of 9 (left out: duplicate 8)" in said.out
    assert "no document is held out" in said.err


def test_a_folder_without_text_and_a_link_to_nowhere_are_named(maskling: Command, tmp_path: Path):
    (tmp_path / "nothing").mkdir()
    said = maskling("prepare", tmp_path / "nothing", "--out", tmp_path / "x", *PREPARE).complaint
    assert "has no file in a readable format" in said
    (tmp_path / "link.txt").symlink_to("nowhere")
    said = maskling("prepare", tmp_path / "link.txt", "--out", tmp_path / "x", *PREPARE).complaint
    assert "link.txt: there is no such file" in said


VOCABULARIES = {
    "nomask.txt": (b"[PAD]\n[UNK]\n[CLS]\n[SEP]\nthe\n", "has no [MASK]"),
    "empty.txt": (b"", "is empty"),
    "tokenizer.json": (b'{"a": 1', "is not JSON"),
    "vocab.txt": (b"\xff\xfe\xfa\n", "is not UTF-8"),
}


@pytest.mark.parametrize("name", VOCABULARIES)
def test_a_vocabulary_that_cannot_be_used_is_one_line(maskling: Command, here: Path, name: str):
    content, said = VOCABULARIES[name]
    (here / name).write_bytes(content)
    assert said in maskling("prepare", "books", "--out", "x", "--tokenizer.path", name).complaint
