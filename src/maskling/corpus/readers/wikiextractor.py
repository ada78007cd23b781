"""Reader of what WikiExtractor writes: articles between '<doc id=... url=... title=...>' and '</doc>'."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from maskling.corpus.decoding import decode, split_into_lines
from maskling.corpus.document import Document, Source
from maskling.corpus.opening import FileReport, open_bytes
from maskling.corpus.readers.fields import WITHOUT_TEXT
from maskling.corpus.settings import CorpusSettings

_BEGIN: Final = re.compile(r'<doc((?: \w+="[^\n]*?")*)>\s*$')
_ATTRIBUTE: Final = re.compile(r' (\w+)="(.*?)"(?= \w+="|$)')
# It escapes these three and nothing else; the last one last.
_ESCAPED: Final = (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&"))


def read_wikiextractor(source: Source, settings: CorpusSettings, report: FileReport) -> Iterator[Document]:
    """Yield a document for each article, its title first, as the files have it.

    settings.id_field may name an attribute: 'id', 'url' or 'title'.
    """
    with open_bytes(source, report) as stream:
        lines = split_into_lines(decode(stream, settings, report), settings.max_document_characters, at_spaces=True)
        attributes: dict[str, str] | None = None
        held: list[str] = []
        count = begun = 0
        for number, line in enumerate(lines, start=1):
            begin = _BEGIN.match(line.lstrip("\ufeff"))
            ends = line.strip() == "</doc>"
            if attributes is None and not begin and not ends:
                if not line.isspace():
                    report.add_fault(f"line {number:,} is outside of every <doc>")
                continue
            if attributes is not None and (begin or ends):
                if begin:
                    report.add_fault(f"line {begun:,} begins a <doc> that is not closed; its text is kept")
                count += 1
                yield _article(held, attributes, count, source, settings, report)
                attributes = None
            elif not begin and not ends:
                held.append(line)
            if begin:
                attributes, held, begun = dict(_ATTRIBUTE.findall(begin[1])), [], number
        if attributes is not None:
            report.add_fault(f"line {begun:,} begins a <doc> that is not closed: the file is cut off; its text is kept")
            yield _article(held, attributes, count + 1, source, settings, report)


def _article(
    lines: list[str],
    attributes: dict[str, str],
    number: int,
    source: Source,
    settings: CorpusSettings,
    report: FileReport,
) -> Document:
    text = "".join(lines).strip()
    for escaped, character in _ESCAPED:
        text = text.replace(escaped, character)
    if not text:
        report.notes[WITHOUT_TEXT] += 1
    name = attributes.get(settings.id_field or "") or f"{source.name}:{number}"
    return Document(text, name, source.location)
