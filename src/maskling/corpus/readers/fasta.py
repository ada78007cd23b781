"""Reader of FASTA and FASTQ: one sequence (DNA, RNA, protein) per document."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from maskling.corpus.decoding import decode, split_into_lines
from maskling.corpus.document import Document, Source
from maskling.corpus.opening import FileReport, open_bytes
from maskling.corpus.readers.fields import WITHOUT_TEXT
from maskling.corpus.settings import CorpusSettings

_LONGEST_LINE: Final = 1 << 28


def read_fasta(source: Source, settings: CorpusSettings, report: FileReport) -> Iterator[Document]:
    """Yield a document for each record: its id is the header line, its text the sequence on one line, as written.

    A sequence of more than settings.max_document_characters becomes several documents.
    """
    with open_bytes(source, report) as stream:
        lines = (
            (number, line.strip())
            for number, line in enumerate(split_into_lines(decode(stream, settings, report), _LONGEST_LINE), start=1)
        )
        filled = ((number, line) for number, line in lines if line)
        first = next(filled, None)
        if first is None:
            return
        records = _fastq(first, filled, report) if first[1].startswith("@") else _fasta(first, filled, settings, report)
        for number, (name, sequence) in enumerate(records, start=1):
            if not sequence:
                report.notes[WITHOUT_TEXT] += 1
            yield Document(sequence, name or f"{source.name}:{number}", source.location)


def _fasta(
    first: tuple[int, str], lines: Iterator[tuple[int, str]], settings: CorpusSettings, report: FileReport
) -> Iterator[tuple[str, str]]:
    name: str | None = None
    held: list[str] = []
    size, pieces = 0, 0

    def taken() -> tuple[str, str]:
        return f"{name} (part {pieces + 1})" if pieces else name or "", "".join(held)

    for number, line in _with_first(first, lines):
        if line.startswith(">"):
            if name is not None and (held or not pieces):
                yield taken()
            name, held, size, pieces = line[1:].strip(), [], 0, 0
        elif line.startswith(";"):
            continue  # a comment of old files
        elif name is None:
            report.add_fault(f"line {number:,} is before the first header; a record begins with a line '>NAME'")
        else:
            sequence = "".join(line.split())
            if size and size + len(sequence) > settings.max_document_characters:
                yield taken()
                held, size, pieces = [], 0, pieces + 1
            held.append(sequence)
            size += len(sequence)
    if name is not None and (held or not pieces):
        yield taken()


def _fastq(first: tuple[int, str], lines: Iterator[tuple[int, str]], report: FileReport) -> Iterator[tuple[str, str]]:
    """Yield the records of FASTQ, whose qualities have the length of the sequence and may begin with '@'."""
    numbered = _with_first(first, lines)
    for number, line in numbered:
        if not line.startswith("@"):
            report.add_fault(f"line {number:,} does not begin a record with '@NAME'")
            continue
        sequence = ""
        for _, part in numbered:
            if part.startswith("+"):
                break
            sequence += "".join(part.split())
        qualities = 0
        while qualities < len(sequence) and (one := next(numbered, None)) is not None:
            qualities += len(one[1])
        if qualities != len(sequence):
            report.add_fault(
                f"line {number:,} begins a record with {len(sequence):,} letters and {qualities:,} qualities"
            )
            continue
        yield line[1:].strip(), sequence


def _with_first(first: tuple[int, str], lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    yield first
    yield from lines
