"""Write a file, read it, and see the documents and the report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from maskling.corpus.document import Document
from maskling.corpus.opening import ReadReport
from maskling.corpus.reading import read_documents
from maskling.corpus.settings import CorpusSettings
from maskling.corpus.sources import expand

ReadFile = Callable[..., tuple[list[Document], ReadReport]]


@pytest.fixture
def read_file(tmp_path: Path) -> ReadFile:
    """read_file('a.txt', b'...', plain='line') -> documents, report.

    A good file beside it keeps a bad one from being the end of all reading.
    """

    def read_one(name: str, content: bytes, **settings: Any) -> tuple[list[Document], ReadReport]:
        path = tmp_path / name
        path.write_bytes(content)
        good = tmp_path / "good.txt"
        good.write_text("A good neighbour.")
        report = ReadReport()
        found = list(read_documents(expand([str(path), str(good)]), CorpusSettings(**settings), report))
        documents = [document for _, document in found]
        assert documents[-1].source == str(good)
        report.files.pop()
        return [document for document in documents if document.source == str(path)], report

    return read_one
