"""A file is what its first bytes say where its name says nothing; what is not text is refused by name."""

from __future__ import annotations

import bz2
import gzip
import io
import sqlite3
import zipfile
from pathlib import Path
from typing import Any

import pytest

from maskling.corpus.opening import ReadReport
from maskling.corpus.reading import read_documents
from maskling.corpus.settings import CorpusSettings
from maskling.corpus.sources import expand

DUMP = (
    b'<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.10/" xml:lang="de">\n<siteinfo></siteinfo>\n<page>'
    b"<title>A</title><text>'''A''' is a letter.</text></page></mediawiki>"
)
WARC = (
    b"WARC/1.0\r\nWARC-Type: response\r\nContent-Length: 49\r\n\r\n"
    b"HTTP/1.1 200 OK\r\n\r\n<html><p>Some text.</p></html>\r\n\r\n"
)
WIKI = (
    b'<doc id="7" url="https://w?curid=7" title="A &quot;B&quot;">\nA "B"\n\n1 &lt; 2 &amp;amp; so on.\n\n</doc>\n' * 2
)


def office(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, "application/vnd.oasis.opendocument.text" if name == "mimetype" else "<xml/>")
    return buffer.getvalue()


def database(path: Path) -> bytes:
    with sqlite3.connect(path) as connection:
        connection.execute("create table a (text)")
    connection.close()
    return path.read_bytes()


@pytest.mark.parametrize(
    ("suffix", "advice"),
    [
        (".xml", "JSON Lines"),
        (".warc", "trafilatura"),
        (".wet", "trafilatura"),
        (".docx", "libreoffice"),
        (".rtf", "libreoffice"),
        (".xlsx", "CSV"),
        (".ps", "ps2ascii"),
        (".djvu", "djvutxt"),
        (".mobi", "calibre"),
        (".png", "leave it out"),
        (".mp3", "leave it out"),
        (".7z", "pack it as .zip or .tar"),
        (".rar", "unpack it"),
        (".safetensors", "leave it out"),
        (".sqlite", "export its table"),
        (".pkl", "JSON Lines"),
        (".npz", "JSON Lines"),
    ],
)
@pytest.mark.parametrize("packed", ["", ".gz"])
def test_formats_that_are_not_text_are_refused_by_name(read_file: Any, suffix: str, advice: str, packed: str) -> None:
    content = b"The river was calm. " * 9
    documents, report = read_file(f"a{suffix}{packed}", gzip.compress(content) if packed else content)
    assert documents == []
    assert f"'{suffix}' files are not read: " in report.problems()[0]
    assert advice in report.problems()[0]
    assert len(read_file(f"a{suffix}{packed}", gzip.compress(content) if packed else content, format="plain")[0]) == 1


@pytest.mark.parametrize("name", ["dump", "dump.txt", "dump.text", "dump.log"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress])
@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b'<?xml version="1.0"?>\n<TEI><text>x</text></TEI>', "is XML, not plain text"),
        (WARC, "is a web archive (WARC), not text"),
        (b"%PDF-1.7\n%text", "is PDF, not text: convert it to text first"),
        (b"{\\rtf1\\ansi Some text}", "is RTF, not text"),
        (b"%!PS-Adobe-3.0\nshowpage", "is PostScript, not text"),
        (office("[Content_Types].xml", "word/document.xml"), "is an office document, not text"),
        (office("mimetype", "content.xml"), "is an office document, not text"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"x" * 99, "is an old office document, not text"),
    ],
)
def test_what_is_not_text_is_known_by_its_first_bytes(
    read_file: Any, name: str, pack: Any, content: bytes, what: str
) -> None:
    documents, report = read_file(name, pack(content))
    assert documents == []
    assert what in report.problems()[0]


def test_a_database_is_refused(read_file: Any, tmp_path: Path) -> None:
    assert "is an SQLite database, not text: export" in read_file("a", database(tmp_path / "x"))[1].problems()[0]


@pytest.mark.parametrize("packed", [".gz", ".bz2"])
def test_a_dump_is_never_read_as_text(read_file: Any, packed: str) -> None:
    content = gzip.compress(DUMP) if packed == ".gz" else bz2.compress(DUMP)
    for name in (f"dewiki.xml{packed}", "dump", "dump.txt", "dump.log"):
        assert [document.text for document in read_file(name, content)[0]] == ["A is a letter."]
    assert "'.warc' files are not read" in read_file("x.warc.gz", gzip.compress(WARC))[1].problems()[0]
    assert "'.wet' files are not read" in read_file("x.warc.wet.gz", gzip.compress(WARC))[1].problems()[0]


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
@pytest.mark.parametrize("name", ["a.jsonl", "a.txt", "a"])
def test_compressed_bytes_without_the_suffix_are_read(read_file: Any, name: str, pack: Any) -> None:
    content = b'{"text": "some text"}\n{"text": "more text"}\n'
    documents, report = read_file(name, pack(content))
    assert report.problems() == []
    assert "".join(d.text for d in documents).count("text") >= 2


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        (b"<!DOCTYPE html>\n<html><body><p>Some text.</p></body></html>", ["Some text."]),
        (b'{"text": "a"}\n{"text": "b"}\n', ["a", "b"]),
        (b'[\n  {"text": "a"},\n  {"text": "b"}\n]', ["a", "b"]),
        (WIKI, ['A "B"\n\n1 < 2 &amp; so on.'] * 2),
        (b"Some words [and] {more}.", ["Some words [and] {more}."]),
        (b"[1] A note.", ["[1] A note."]),
        (b"<3 this band", ["<3 this band"]),
    ],
)
def test_a_file_without_suffix_is_read_by_its_content(read_file: Any, content: bytes, texts: list[str]) -> None:
    documents, report = read_file("download", content)
    assert [d.text for d in documents] == texts
    assert report.problems() == []
    assert [d.text for d in read_file("download", content, format="plain")[0]] == [content.decode()]


def test_articles_of_wikiextractor(read_file: Any, tmp_path: Path) -> None:
    documents, report = read_file("wiki_00", WIKI, id_field="id")
    assert [(d.id, d.text) for d in documents] == [("7", 'A "B"\n\n1 < 2 &amp; so on.')] * 2
    assert [d.id for d in read_file("wiki_00", WIKI)[0]] == ["wiki_00:1", "wiki_00:2"]
    assert len(read_file("joined.txt", WIKI)[0]) == 2
    documents, report = read_file("wiki_01", WIKI + WIKI[: len(WIKI) // 2 - 8])
    assert len(documents) == 3
    assert "line 13 begins a <doc> that is not closed: the file is cut off; its text is kept" in report.problems()[0]
    (tmp_path / "AA").mkdir()
    for number in range(3):
        (tmp_path / "AA" / f"wiki_{number:02}").write_bytes(WIKI)
    (tmp_path / "AA" / "Makefile").write_text("all:")
    report = ReadReport()
    found = list(read_documents(expand([str(tmp_path / "AA")], report), CorpusSettings(), report))
    assert len(found) == 6
    assert report.skipped == {"": 1}


def test_sequences(read_file: Any) -> None:
    fasta = b">sp|P1 one\nMKV*-acgt\nLLN\n\n>two\r\nACGT\r\nNNNN\r\n; a comment\n>three\n>four\nAC GT"
    for name in ("a.fasta", "a.fa", "a.faa", "a.fna"):
        documents, report = read_file(name, fasta)
        assert [(d.id, d.text) for d in documents] == [
            ("sp|P1 one", "MKV*-acgtLLN"),
            ("two", "ACGTNNNN"),
            ("three", ""),
            ("four", "ACGT"),
        ]
        assert "1 document has no text" in report.problems()[0]
    assert len(read_file("a.fasta.gz", gzip.compress(fasta))[0]) == 4
    documents, report = read_file("a.fa", b"ACGT\n>x\nAC\n")
    assert ([d.text for d in documents], report.bad_files[0].faults) == (
        ["AC"],
        ["line 1 is before the first header; a record begins with a line '>NAME'"],
    )
    documents, _ = read_file("a.fa", b">x\n" + b"ACGTA\n" * 700, max_document_characters=1000)
    assert [d.id for d in documents] == ["x", "x (part 2)", "x (part 3)", "x (part 4)"]
    assert "".join(d.text for d in documents) == "ACGTA" * 700


def test_reads_with_qualities(read_file: Any) -> None:
    documents, report = read_file("a.fastq", b"@one x\nACGT\n+\n@@@@\n@two\nNN\nNN\n+two\nIIII\n@cut\nACG\n+\nI\n")
    assert [(d.id, d.text) for d in documents] == [("one x", "ACGT"), ("two", "NNNN")]
    assert "line 10 begins a record with 3 letters and 1 qualities" in report.problems()[0]


def test_treebanks(read_file: Any) -> None:
    def words(*rows: tuple[str, str, str]) -> str:
        return "".join(f"{number}\t{form}\t_\t_\t_\t_\t_\t_\t_\t{misc}\n" for number, form, misc in rows) + "\n"

    given = "# sent_id = 1\n# text = Au revoir.\n" + words(("1-2", "Au", "_"), ("1", "À", "_"), ("2", "le", "_"))
    built = words(
        ("1-2", "Au", "_"),
        ("1", "À", "_"),
        ("2", "le", "_"),
        ("3", "lit", "SpaceAfter=No"),
        ("3.1", "x", "_"),
        ("4", ".", "_"),
    )
    content = f"# newdoc id = first\n{given}{built}# newdoc\n{given}".encode()
    documents, report = read_file("a.conllu", content)
    assert [(d.id, d.text) for d in documents] == [("first", "Au revoir.\nAu lit."), ("a.conllu:2", "Au revoir.")]
    assert documents[0].line_sentences
    assert report.problems() == []


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("tei.txt", b'<TEI xmlns="http://www.tei-c.org/ns/1.0"><text>Old words.</text></TEI>', "is XML"),
        ("news", b'<nitf:doc xmlns:nitf="x"><p>Old words.</p></nitf:doc>', "is XML"),
        ("inbox", b"From joe@x.org Mon Jan  1 00:00:00 2024\nSubject: hi\nTo: b\n\nOld words.\n", "is mail"),
        ("one.txt", b"Return-Path: <a@b.c>\r\nSubject: a\r\n b\r\n\r\nOld words.\r\n", "is mail"),
        ("twice.txt.gz", gzip.compress(gzip.compress(b"Old words.", mtime=0), mtime=0), "is compressed twice"),
        ("a.ipynb", b'{"cells": []}', "nbconvert"),
    ],
)
def test_markup_mail_and_notebooks_without_a_telling_name_are_refused(
    read_file: Any, name: str, content: bytes, message: str
) -> None:
    documents, report = read_file(name, content)
    assert documents == []
    assert message in report.problems()[0]


@pytest.mark.parametrize("text", ["Dear Ann: hello.\nFrom here: on.\n\nYours.", "A <b>word</b>.", "<3 you all"])
def test_plain_text_that_begins_like_markup_or_mail_is_read(read_file: Any, text: str) -> None:
    documents, report = read_file("a.txt", text.encode())
    assert ([d.text for d in documents], report.problems()) == ([text], [])


@pytest.mark.parametrize(("suffix", "what"), [(".srt", "times of subtitles"), (".tex", "LaTeX"), (".rst", "markup")])
def test_markup_that_is_kept_is_said(read_file: Any, suffix: str, what: str) -> None:
    documents, report = read_file(f"a{suffix}", b"Some words.")
    assert [d.text for d in documents] == ["Some words."]
    assert what in report.problems()[0]
    documents, report = read_file(f"a{suffix}", b"Some words.", format="plain")
    assert report.problems() == []
