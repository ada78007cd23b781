from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from maskling.corpus.document import Source
from maskling.corpus.opening import ReadReport
from maskling.corpus.reading import read_documents
from maskling.corpus.settings import CorpusSettings
from maskling.errors import CorpusError, MissingExtra

ROWS = [
    {"text": "one", "meta": {"title": "A"}},
    {"text": None, "meta": {"title": "B"}},
    {"text": "three", "meta": {"title": "C"}},
]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A stand-in for the library, as its hub is out of a test's reach; the calls it got."""
    calls: list[Any] = []

    def load_dataset(name: str, config: str | None, *, split: str, streaming: bool) -> Any:
        calls.append((name, config, split, streaming))
        if name == "nobody/nothing":
            raise FileNotFoundError("Dataset 'nobody/nothing' doesn't exist on the Hub")
        return iter(ROWS)

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    return calls


def test_rows_are_streamed(hub: list[Any]) -> None:
    report = ReadReport()
    sources = [Source("hf:org/name"), Source("hf:wikitext:wikitext-2-raw-v1:test")]
    found = [document for _, document in read_documents(sources, CorpusSettings(), report)]
    assert [(d.id, d.text) for d in found[:3]] == [
        ("org/name:1", "one"),
        ("org/name:2", ""),
        ("org/name:3", "three"),
    ]
    assert hub == [("org/name", None, "train", True), ("wikitext", "wikitext-2-raw-v1", "test", True)]
    assert "hf:org/name: 1 document has no text (null or an empty list)" in report.problems()
    assert not report.bad_files
    found = [d for _, d in read_documents(sources, CorpusSettings(text_field="meta.title"), ReadReport())]
    assert [d.text for d in found] == ["A", "B", "C"] * 2


def test_a_dataset_that_cannot_be_had_is_one_line(hub: list[Any]) -> None:
    with pytest.raises(CorpusError, match=r"hf:nobody/nothing: cannot be loaded from the Hub: .*doesn't exist"):
        list(read_documents([Source("hf:nobody/nothing")], CorpusSettings(), ReadReport()))
    with pytest.raises(CorpusError, match="names no dataset"):
        list(read_documents([Source("hf:")], CorpusSettings(), ReadReport()))


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtra, match=r"pip install 'maskling\[hf\]'"):
        list(read_documents([Source("hf:org/name")], CorpusSettings(), ReadReport()))
