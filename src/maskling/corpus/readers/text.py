"""Reader of plain text, with four conventions for where a document ends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from maskling.corpus.decoding import decode, split_into_lines
from maskling.corpus.document import Document, Source
from maskling.corpus.opening import FileReport, open_bytes
from maskling.corpus.settings import CorpusSettings


def read_plain(source: Source, settings: CorpusSettings, report: FileReport) -> Iterator[Document]:
    """Yield the documents of a text file, as settings.plain defines them.

    A document of more than settings.max_document_characters becomes several, so that a large file is
    never in memory as a whole.
    """
    with open_bytes(source, report) as stream:
        lines = split_into_lines(decode(stream, settings, report), settings.max_document_characters, at_spaces=True)
        texts = _texts(lines, settings.plain, settings.max_document_characters)
        for number, text in enumerate((text for text in texts if not text.isspace()), start=1):
            yield Document(text, f"{source.name}:{number}", source.location, settings.plain == "sentence-per-line")


def _texts(lines: Iterable[str], plain: str, longest: int) -> Iterator[str]:
    held: list[str] = []
    size = 0
    for line in lines:
        if (
            plain == "line"
            or (plain in ("blank-line", "sentence-per-line") and line.isspace())
            or size + len(line) > longest
        ):
            if held:
                yield "".join(held)
            held, size = [], 0
        if line.isspace() and not held:
            continue
        held.append(line)
        size += len(line)
    if held:
        yield "".join(held)
