"""Archives and addresses are read by the name of the file in them, member by member."""

from __future__ import annotations

import functools
import gzip
import http.server
import io
import os
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from maskling.corpus.opening import ReadReport
from maskling.corpus.reading import START, ReadPosition, read_documents
from maskling.corpus.settings import CorpusSettings
from maskling.corpus.sources import expand
from maskling.errors import CorpusError


def parquet(*texts: str) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"text": list(texts)}), buffer)
    return buffer.getvalue()


MEMBERS = {
    "in/one.txt": b"text one",
    "in/two.csv": b"id;text\n1;text two\n2;text three\n",
    "in/deep/three.jsonl.gz": gzip.compress(b'{"text": "text four"}\n'),
    "in/four.parquet": parquet("text five"),
    "wiki_00": b'<doc id="1" url="u" title="t">\ntext six\n</doc>\n',
}
TEXTS = ["text one", "text two", "text three", "text four", "text five", "text six"]
JUNK = {"__MACOSX/in/._one.txt": b"\0\5\x16\7", "in/.DS_Store": b"junk", "in/._two.csv": b"\0", "in/a.png": b"\x89PNG"}


@pytest.fixture
def archives(tmp_path: Path) -> Path:
    with zipfile.ZipFile(tmp_path / "docs.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("in")
        for name, content in (JUNK | MEMBERS).items():
            archive.writestr(name, content)
    for suffix, mode in (
        (".tar", "w"),
        (".tar.gz", "w:gz"),
        (".tgz", "w:gz"),
        (".tar.bz2", "w:bz2"),
        (".tar.xz", "w:xz"),
    ):
        with tarfile.open(tmp_path / f"docs{suffix}", mode) as archive:
            for name, content in (JUNK | MEMBERS).items():
                member = tarfile.TarInfo(f"./{name}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return tmp_path


def read(source: str, start: ReadPosition = START, **settings: Any) -> tuple[list[Any], list[str]]:
    report = ReadReport()
    sources = expand([source], report, settings.get("format", "auto") != "auto")
    found = list(read_documents(sources, CorpusSettings(**settings), report, start))
    return found, report.problems()


@pytest.mark.parametrize("name", ["docs.zip", "docs.tar", "docs.tar.gz", "docs.tgz", "docs.tar.bz2", "docs.tar.xz"])
def test_an_archive_is_read_member_by_member(archives: Path, name: str) -> None:
    found, problems = read(str(archives / name))
    assert [document.text.strip() for _, document in found] == TEXTS
    assert [document.id for _, document in found] == [
        *(f"{name}/in/one.txt:1", f"{name}/in/two.csv:2", f"{name}/in/two.csv:3", f"{name}/in/deep/three.jsonl.gz:1"),
        *(f"{name}/in/four.parquet:1", f"{name}/wiki_00:1"),
    ]
    assert problems == [f"{archives / name}: 1 file in it left out, no reader for .png"]
    for done, (position, _) in enumerate(found, start=1):
        assert read(str(archives / name), position)[0] == found[done:]


def test_an_archive_in_a_folder_and_without_its_suffix(archives: Path) -> None:
    (archives / "only").mkdir()
    (archives / "docs.zip").rename(archives / "only" / "docs.zip")
    assert len(read(str(archives / "only"))[0]) == 6
    (archives / "docs.tar.gz").rename(archives / "download")
    assert [document.text.strip() for _, document in read(str(archives / "download"))[0]] == TEXTS


@pytest.mark.parametrize(
    ("address", "count"),
    [
        ("zip://*::{zip}", 6),
        ("zip://**::{zip}", 6),
        ("zip://::{zip}", 6),
        ("zip://*::file://{zip}", 6),
        ("zip://in/*::{zip}", 5),
        ("zip://in/one.txt::{zip}", 1),
        ("zip://in/two.csv::file://{zip}", 2),
        ("zip://in/four.parquet::{zip}", 1),
        ("tar://*::{tar}", 6),
        ("tar://in/two.csv::{tar}", 2),
        ("simplecache::zip://in/two.csv::{zip}", 2),
        ("simplecache::file://{csv}", 2),
        ("file://{csv}", 2),
    ],
)
def test_chained_addresses(archives: Path, address: str, count: int) -> None:
    (archives / "two.csv").write_bytes(MEMBERS["in/two.csv"])
    places = {"zip": archives / "docs.zip", "tar": archives / "docs.tar.gz", "csv": archives / "two.csv"}
    found, problems = read(address.format(**places))
    assert len(found) == count
    assert {document.text.strip() for _, document in found} <= set(TEXTS)
    assert [line for line in problems if ".png" not in line] == []


def test_a_chosen_reader_reads_a_member(archives: Path) -> None:
    found, _ = read(f"zip://in/two.csv::{archives / 'docs.zip'}", format="plain")
    assert [document.text for _, document in found] == ["id;text\n1;text two\n2;text three\n"]


def test_relative_paths(archives: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(archives)
    assert len(read("zip://*::docs.zip")[0]) == len(read("docs.zip")[0]) == 6


def test_what_cannot_be_read_is_one_line(archives: Path, tmp_path: Path) -> None:
    data = bytearray((archives / "docs.zip").read_bytes())
    (tmp_path / "cut.zip").write_bytes(data[:-40])
    with pytest.raises(CorpusError, match=r"cut\.zip: is not a complete zip archive"):
        read(str(tmp_path / "cut.zip"))
    (tmp_path / "cut.tar.gz").write_bytes((archives / "docs.tar.gz").read_bytes()[:-300])
    with pytest.raises(CorpusError, match=r"cut\.tar\.gz: .*(damaged|complete|end)"):
        read(str(tmp_path / "cut.tar.gz"), on_bad_file="stop")
    for at in range(len(data)):  # the flag of every member: encrypted
        if data[at : at + 4] == b"PK\x03\x04":
            data[at + 6] |= 1
        if data[at : at + 4] == b"PK\x01\x02":
            data[at + 8] |= 1
    (tmp_path / "locked.zip").write_bytes(data)
    with pytest.raises(CorpusError, match=r"in/a\.png: is encrypted; unpack .*password first \(and 5 more"):
        read(str(tmp_path / "locked.zip"))
    with zipfile.ZipFile(tmp_path / "outer.zip", "w") as archive:
        archive.write(archives / "docs.zip", "docs.zip")
        archive.writestr("a.txt", "some text")
        archive.writestr("b.pdf.txt", "%PDF-1.4")
        archive.writestr("c.csv", "id,body\n1,x\n")
    found, problems = read(str(tmp_path / "outer.zip"))
    assert [document.text for _, document in found] == ["some text"]
    assert "outer.zip: docs.zip: is an archive in an archive; unpack the outer one first (and 2 more" in problems[0]
    with zipfile.ZipFile(tmp_path / "none.zip", "w") as archive:
        archive.writestr("a.png", b"\x89PNG")
    with pytest.raises(CorpusError, match=r"has no text; nothing kept; 1 file in it left out, no reader for \.png"):
        read(str(tmp_path / "none.zip"))


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(archives: Path) -> Iterator[str]:
    """A server on this machine."""
    pytest.importorskip("aiohttp")
    serve = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(archives)))
    thread = threading.Thread(target=serve.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{serve.server_port}"
    serve.shutdown()
    serve.server_close()
    fsspec.filesystem("http").clear_instance_cache()


def test_urls_are_read_by_the_name_before_their_query(archives: Path, server: str) -> None:
    (archives / "nl.csv").write_bytes(b'id,text\n0,"One\n\ntwo"\n1,three\n')
    (archives / "a.parquet").write_bytes(MEMBERS["in/four.parquet"])
    (archives / "a.jsonl.gz").write_bytes(MEMBERS["in/deep/three.jsonl.gz"])
    (archives / "page.html").write_bytes(b'<p>Some <a href="nl.csv">text</a>.</p>')

    def texts(path: str) -> list[str]:
        found, problems = read(f"{server}/{path}")
        assert problems == [] or ".png" in problems[0]
        return [document.text.strip() for _, document in found]

    assert texts("nl.csv?download=true") == texts("nl.csv") == ["One\n\ntwo", "three"]
    assert texts("a.parquet?download=true") == ["text five"]
    assert texts("a.jsonl.gz?X-Amz-Signature=a/b.c&x=1") == ["text four"]
    assert texts("page.html#part") == ["Some text."]
    assert texts("docs.zip?download=true") == texts("docs.tar.gz") == TEXTS
    # This server cannot give a part of a file, which these chained URLs need.
    with pytest.raises(CorpusError, match=r"does.*range requests; give the archive itself, http://.*/docs\.zip"):
        read(f"zip://in/two.csv::{server}/docs.zip")
    with pytest.raises(CorpusError, match="there is nothing at this URL"):
        read(f"{server}/none.csv?download=true")


def test_what_is_not_a_file_is_left_out_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("some text")
    os.mkfifo(tmp_path / "b.txt")
    (tmp_path / "c.txt").symlink_to(tmp_path / "c.txt")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "up").symlink_to(tmp_path)
    found, problems = read(str(tmp_path))
    assert [document.text for _, document in found] == ["some text"]
    assert any("b.txt: is a pipe (FIFO), not a file; left out" in line for line in problems)
    assert any("c.txt: cannot be read: Too many levels of symbolic links; left out" in line for line in problems)
    assert any("up: links to a folder that is read already; left out" in line for line in problems)


def test_folders_that_link_to_one_another_are_read_once(tmp_path: Path) -> None:
    names = [f"f{i}" for i in range(9)]
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.txt").write_text(name)
        for other in names:
            if other != name:
                (tmp_path / name / f"to_{other}").symlink_to(tmp_path / other)
    found, _ = read(str(tmp_path))
    assert sorted(document.text for _, document in found) == names


def test_a_pipe_that_is_named_is_read(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    content = gzip.compress(b"some text\n" * 20_000)
    writer = threading.Thread(target=pipe.write_bytes, args=(content,))
    writer.start()
    found, problems = read(str(pipe))
    writer.join()
    assert ([document.text for _, document in found], problems) == (["some text\n" * 20_000], [])
