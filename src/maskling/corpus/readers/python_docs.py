"""The embedded corpus (to come)."""

from __future__ import annotations

from collections.abc import Iterator

from maskling.corpus.document import Document, Source
from maskling.corpus.report import FileReport
from maskling.corpus.settings import CorpusSettings


def read_python_docs(source: Source, settings: CorpusSettings, report: FileReport) -> Iterator[Document]:
    """Yield nothing yet."""
    yield from ()
