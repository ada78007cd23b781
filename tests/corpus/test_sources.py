from __future__ import annotations

import os
import zipfile
from pathlib import Path

import fsspec
import pytest

from maskling.corpus.document import Source
from maskling.corpus.opening import ReadReport
from maskling.corpus.sources import expand
from maskling.errors import CorpusError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in (
        "b.txt",
        "a.jsonl.gz",
        "sub/c.md",
        "sub/.hidden.txt",
        ".git/config.txt",
        "image.png",
        "Makefile",
        "B.TXT",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("some text")
    return tmp_path


def names(sources: list[Source], folder: Path) -> list[str]:
    return [str(Path(source.location).relative_to(folder)) for source in sources]


def test_a_folder_gives_its_readable_files_in_order_and_counts_the_rest(folder: Path) -> None:
    report = ReadReport()
    found = expand([str(folder)], report)
    assert names(found, folder) == ["B.TXT", "a.jsonl.gz", "b.txt", "sub/c.md"]
    assert [source.size for source in found] == [9, 9, 9, 9]
    assert report.skipped == {".png": 1, "": 1}
    assert "1 without suffix, 1 .png" in report.problems()[0]


def test_a_chosen_reader_takes_every_file(folder: Path) -> None:
    assert "Makefile" in names(expand([str(folder)], any_suffix=True), folder)


def test_a_file_named_itself_is_taken_whatever_its_suffix_and_only_once(folder: Path) -> None:
    found = expand([str(folder / "Makefile"), str(folder / "b.txt"), str(folder)])
    assert names(found, folder) == ["Makefile", "b.txt", "B.TXT", "a.jsonl.gz", "sub/c.md"]


def test_patterns(folder: Path) -> None:
    assert names(expand([str(folder / "*.txt")]), folder) == ["b.txt"]
    assert names(expand([str(folder / "**" / "*.md")]), folder) == ["sub/c.md"]
    assert names(expand([str(folder / "s*")]), folder) == ["sub/c.md"]
    (folder / "odd[1].txt").write_text("a real name, not a pattern")
    assert names(expand([str(folder / "odd[1].txt")]), folder) == ["odd[1].txt"]


def test_links_are_followed_but_not_in_circles(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    (other / "far.txt").write_text("text")
    (folder / "sub" / "link").symlink_to(other)
    (folder / "sub" / "up").symlink_to(folder)
    assert "sub/link/far.txt" in names(expand([str(folder)]), folder)


def test_special_sources_pass_through() -> None:
    assert [source.location for source in expand(["-", "python-docs:", "hf:wikitext:a:b"])] == [
        "-",
        "python-docs:",
        "hf:wikitext:a:b",
    ]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("b.tx", r"no such file or folder; did you mean 'b.txt'\?"),
        ("nowhere/b.txt", "nor a folder"),
        ("*.zzz", "no file matches"),
        ("empty", "has no file in a readable format"),
        ("unknown", "has 1 file, but none in a readable format"),
    ],
)
def test_what_is_missing_is_named(folder: Path, name: str, says: str) -> None:
    (folder / "empty").mkdir()
    (folder / "unknown").mkdir()
    (folder / "unknown" / "a.png").write_bytes(b"")
    with pytest.raises(CorpusError, match=says) as caught:
        expand([str(folder / name)])
    assert name in str(caught.value)


def test_nothing_named() -> None:
    with pytest.raises(CorpusError, match="no text was given"):
        expand([])


def test_addresses_files_folders_and_patterns() -> None:
    memory = fsspec.filesystem("memory")
    for name in ("b.txt", "a.jsonl", "deep/c.txt", "x.png", ".hidden.txt"):
        memory.pipe(f"/sources/{name}", b"text")
    report = ReadReport()
    locations = [source.location for source in expand(["memory://sources"], report)]
    assert locations == ["memory:///sources/a.jsonl", "memory:///sources/b.txt", "memory:///sources/deep/c.txt"]
    assert report.skipped == {".png": 1}
    assert [source.location for source in expand(["memory://sources/*.txt"])] == ["memory:///sources/b.txt"]
    assert expand(["memory://sources/b.txt"]) == [Source("memory:///sources/b.txt", 4)]
    with pytest.raises(CorpusError, match="nothing to read at this URL"):
        expand(["memory://sources/none.txt"])


def test_chained_addresses(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("in/one.txt", "text one")
        archive.writestr("in/two.txt", "text two")
    found = expand([f"zip://in/*.txt::{tmp_path / 'a.zip'}"])
    assert [source.location for source in found] == [f"zip://in/{n}.txt::{tmp_path / 'a.zip'}" for n in ("one", "two")]
    with fsspec.open(found[1].location) as file:
        assert file.read() == b"text two"


@pytest.mark.parametrize("address", ["s3://bucket/a.txt", "gs://bucket/*.txt"])
def test_a_missing_driver_says_what_to_install(address: str) -> None:
    with pytest.raises(CorpusError, match=r"one more package.*(s3fs|gcsfs)"):
        expand([address])


def test_an_unknown_protocol_is_one_line() -> None:
    with pytest.raises(CorpusError, match=r"nosuch://a\.txt"):
        expand(["nosuch://a.txt"])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_folder_is_one_line(folder: Path) -> None:
    (folder / "sub").chmod(0)
    try:
        with pytest.raises(CorpusError, match="sub"):
            expand([str(folder)])
    finally:
        (folder / "sub").chmod(0o755)
