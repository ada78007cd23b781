from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest

from maskling.corpus.document import Source
from maskling.corpus.opening import ReadReport, StoppedError
from maskling.corpus.readers import READERS
from maskling.corpus.reading import ReadPosition, read_documents
from maskling.corpus.settings import CorpusSettings
from maskling.corpus.sources import expand
from maskling.errors import CorpusError

SETTINGS = CorpusSettings()


@pytest.fixture
def corpus(tmp_path: Path) -> list[Source]:
    def jsonl(name: str, count: int) -> None:
        (tmp_path / name).write_text("\n".join(json.dumps({"text": f"{name} {i}"}) for i in range(count)))

    jsonl("a.jsonl", 3)
    (tmp_path / "b.txt").write_bytes(b"\x00\x01" * 100)
    (tmp_path / "c.txt").write_text("a whole file")
    (tmp_path / "d.txt").write_text("")
    jsonl("e.jsonl", 2)
    return expand([str(tmp_path)])


def test_documents_come_in_order_and_bad_files_are_named(corpus: list[Source]) -> None:
    report = ReadReport()
    found = list(read_documents(corpus, SETTINGS, report))
    assert [(tuple(position), document.text) for position, document in found] == [
        ((0, 1), "a.jsonl 0"),
        ((0, 2), "a.jsonl 1"),
        ((0, 3), "a.jsonl 2"),
        ((2, 1), "a whole file"),
        ((4, 1), "e.jsonl 0"),
        ((4, 2), "e.jsonl 1"),
    ]
    assert [file.documents for file in report.files] == [3, 0, 1, 0, 2]
    assert report.documents == 6
    assert [Path(file.name).name for file in report.bad_files] == ["b.txt", "d.txt"]
    assert "b.txt: is binary, not text" in report.problems()[0]
    assert "d.txt: has no text" in report.problems()[1]


def test_every_position_is_a_place_to_go_on_from(corpus: list[Source]) -> None:
    whole = list(read_documents(corpus, SETTINGS, ReadReport()))
    for done, (position, _) in enumerate(whole, start=1):
        assert list(read_documents(corpus, SETTINGS, ReadReport(), start=position)) == whole[done:]
    assert list(read_documents(corpus, SETTINGS, ReadReport(), start=ReadPosition(len(corpus), 0))) == []


def test_the_first_bad_file_stops_all_if_asked(corpus: list[Source]) -> None:
    reading = read_documents(corpus, CorpusSettings(on_bad_file="stop"), ReadReport())
    with pytest.raises(CorpusError, match=r"b\.txt: is binary, not text \(it has zero bytes\); leave it out") as caught:
        list(reading)
    assert str(caught.value).count("b.txt") == 1


def test_strict_stops_at_the_first_invalid_byte_even_where_bad_files_are_reported(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"fine\nnot \xff fine")
    with pytest.raises(CorpusError, match=r"a\.txt, line 2: byte 0xff is not utf-8 .*corpus\.errors"):
        list(read_documents(expand([str(tmp_path)]), CorpusSettings(errors="strict"), ReadReport()))


def test_no_document_at_all_is_an_error_that_says_why(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(" ")
    (tmp_path / "b.txt.gz").write_bytes(b"not gzip")
    with pytest.raises(CorpusError, match=r"no document could be read: .*a\.txt: has no text.*1 more source"):
        list(read_documents(expand([str(tmp_path)]), SETTINGS, ReadReport()))


def test_a_file_that_vanished_or_is_a_broken_link_is_reported(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("some text")
    (tmp_path / "b.txt").symlink_to(tmp_path / "nowhere")
    (tmp_path / "c.txt").write_text("more text")
    sources = expand([str(tmp_path)])
    (tmp_path / "c.txt").unlink()
    report = ReadReport()
    assert [document.text for _, document in read_documents(sources, SETTINGS, report)] == ["some text"]
    assert [line.split(": ", 1)[1] for line in report.problems()] == [
        "cannot be read: No such file or directory; nothing kept"
    ] * 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_forbidden_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("some text")
    (tmp_path / "b.txt").write_text("secret")
    (tmp_path / "b.txt").chmod(0)
    report = ReadReport()
    list(read_documents(expand([str(tmp_path)]), SETTINGS, report))
    assert "b.txt: cannot be read: Permission denied" in report.problems()[0]


def test_a_compressed_file_is_read_by_the_suffix_before_the_last(tmp_path: Path) -> None:
    (tmp_path / "a.JSONL.GZ").write_bytes(gzip.compress(b'{"text": "inside"}'))
    assert [document.text for _, document in read_documents(expand([str(tmp_path)]), SETTINGS, ReadReport())] == [
        "inside"
    ]


def test_a_chosen_reader_is_used_for_every_file(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"text": "inside"}')
    settings = CorpusSettings(format="jsonl")
    assert [
        document.text for _, document in read_documents(expand([str(tmp_path / "a.json")]), settings, ReadReport())
    ] == ["inside"]


def test_no_two_readers_claim_a_suffix() -> None:
    suffixes = [suffix for reader in READERS.values() for suffix in reader.suffixes]
    assert len(suffixes) == len(set(suffixes))


@pytest.mark.parametrize("mark", ["<![>", "<![ endif]>", "<![foo[ x ]]>", "<![if !supportLists]>"])
def test_marks_of_word_processors_are_comments(tmp_path: Path, mark: str) -> None:
    (tmp_path / "a.html").write_text(f"<p>Before it{mark} and after.</p><p>More text.</p>")
    (_, document), *_ = read_documents([Source(str(tmp_path / "a.html"))], CorpusSettings(), ReadReport())
    assert document.text.startswith("Before it")
    assert document.text.endswith("More text.")


def test_what_a_library_makes_of_a_file_is_reported_and_the_rest_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.md", "b.txt"):
        (tmp_path / name).write_text("Some text.")

    def broken(*_: object) -> None:
        raise RuntimeError("out of luck")

    monkeypatch.setattr("maskling.corpus.readers.markdown.strip_markdown", broken)
    report = ReadReport()
    sources = [Source(str(tmp_path / name)) for name in ("a.md", "b.txt")]
    assert [document.text for _, document in read_documents(sources, CorpusSettings(), report)] == ["Some text."]
    assert report.problems() == [f"{tmp_path / 'a.md'}: cannot be read: RuntimeError: out of luck; nothing kept"]
    with pytest.raises(StoppedError, match="out of luck"):
        list(read_documents(sources, CorpusSettings(on_bad_file="stop"), ReadReport()))
