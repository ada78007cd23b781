"""Reader of plain text, with four conventions for where a document ends."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from maskling.corpus.decoding import decode, split_into_lines
from maskling.corpus.document import Document, Source
from maskling.corpus.opening import FileReport, open_bytes
from maskling.corpus.settings import CorpusSettings
from maskling.errors import CorpusError

_DUMP: Final = re.compile(r"\ufeff?\s*(?:<\?xml\b[^<>]*>\s*)?<mediawiki\b")


def read_plain(source: Source, settings: CorpusSettings, report: FileReport) -> Iterator[Document]:
    """Yield the documents of a text file, as settings.plain defines them.

    A document of more than settings.max_document_characters becomes several, so that a large file is
    never in memory as a whole.
    """
    with open_bytes(source, report) as stream:
        blocks = _not_a_dump(decode(stream, settings, report), settings, report)
        lines = split_into_lines(blocks, settings.max_document_characters, at_spaces=True)
        texts = _texts(lines, settings.plain, settings.max_document_characters)
        for number, text in enumerate((text for text in texts if not text.isspace()), start=1):
            yield Document(text, f"{source.name}:{number}", source.location, settings.plain == "sentence-per-line")


def _not_a_dump(blocks: Iterator[str], settings: CorpusSettings, report: FileReport) -> Iterator[str]:
    """Yield the blocks, unless they are a dump of MediaWiki, whose markup nobody wants in silence.

    Its first bytes tell it in most cases; not in a pipe with compressed data, of which they are not seen before.
    """
    first = next(blocks, "")
    if _DUMP.match(first):
        if settings.format != "plain":
            raise CorpusError("is a MediaWiki dump, not plain text; set corpus.format to wiki")
        report.notes[
            "files are read as plain text, with the markup of MediaWiki; set corpus.format to wiki to read prose"
        ] += 1
    yield first
    yield from blocks


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
