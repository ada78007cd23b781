"""Reader of CoNLL-U treebanks: their sentences as text, without the annotation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from maskling.corpus.decoding import decode, split_into_lines
from maskling.corpus.document import Document, Source
from maskling.corpus.opening import FileReport, open_bytes
from maskling.corpus.settings import CorpusSettings

_LONGEST_LINE: Final = 1 << 28
_COLUMNS: Final = 10


def read_conllu(source: Source, settings: CorpusSettings, report: FileReport) -> Iterator[Document]:
    """Yield a document for each '# newdoc', or for the file if there is none: a sentence on each line.

    A sentence is its '# text = ' line, or its word forms where it has none.
    """
    with open_bytes(source, report) as stream:
        lines = split_into_lines(decode(stream, settings, report), _LONGEST_LINE)
        sentences: list[str] = []
        text, forms, name, count, inside = "", "", "", 0, 0
        for number, line in enumerate(_closed(lines), start=1):
            line = line.rstrip("\n")
            if line.startswith("# newdoc"):
                if sentences:
                    count += 1
                    yield Document("\n".join(sentences), name or f"{source.name}:{count}", source.location, True)
                sentences, name = [], line.partition("id =")[2].strip()
            elif line.startswith("# text ="):
                text = line.partition("=")[2].strip()
            elif not line.strip():
                if text or forms:
                    sentences.append(text or forms.strip())
                text, forms, inside = "", "", 0
            elif not line.startswith("#"):
                cells = line.split("\t")
                if len(cells) != _COLUMNS:
                    report.add_fault(f"line {number:,} has {len(cells)} columns, and CoNLL-U has {_COLUMNS}")
                    continue
                first, _, last = cells[0].partition("-")
                # The words of a contraction ('1-2') follow it; '1.1' is a word that is not in the text.
                if "." in cells[0] or (not last and first.isdecimal() and int(first) <= inside):
                    continue
                inside = int(last) if last.isdecimal() else inside
                forms += cells[1] + ("" if "SpaceAfter=No" in cells[9] else " ")


def _closed(lines: Iterator[str]) -> Iterator[str]:
    """Yield the lines, and those that end the last sentence and document."""
    yield from lines
    yield "\n"
    yield "# newdoc\n"
