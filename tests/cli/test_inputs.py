"""Texts for a verb: read alike from arguments, files, pipes and standard input, one line at a time."""

from __future__ import annotations

import io
import os
import sys
import threading
from pathlib import Path

import pytest

from maskling.cli import inputs
from maskling.cli.inputs import read_one_text, read_texts
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
