"""Read all documents of all sources in order, with the position to resume from; bad files are reported, not fatal."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from maskling.corpus.archives import open_members
from maskling.corpus.decoding import UndecodableError
from maskling.corpus.document import Document, Source
from maskling.corpus.formats import find_reader, is_readable, kept_markup
from maskling.corpus.opening import READ_ERRORS, FileReport, ReadReport, StoppedError
from maskling.corpus.readers import ReadFunction
from maskling.corpus.readers.hugging_face import read_hugging_face
from maskling.corpus.readers.python_docs import read_python_docs
from maskling.corpus.settings import CorpusSettings
from maskling.errors import CorpusError, MasklingError


class ReadPosition(NamedTuple):
    """The position to resume reading from: index of a source, and how many of its documents are done."""

    source: int = 0
    document: int = 0


START = ReadPosition()


def read_documents(
    sources: Sequence[Source], settings: CorpusSettings, report: ReadReport, start: ReadPosition = START
) -> Iterator[tuple[ReadPosition, Document]]:
    """Yield each document with the position just after it: pass that as `start` to resume with the next.

    A source that cannot be read to its end is reported, its documents so far are kept, and reading continues with the
    next source (unless on_bad_file='stop'). `report` counts from the beginning of the source of `start`.
    Raises CorpusError if no source has a document, at the first fault under on_bad_file='stop',
    and at the first invalid byte under errors='strict'. Raises MissingExtra.
    """
    sizes = [source.size for source in sources]
    report.total_bytes = None if None in sizes else sum(size or 0 for size in sizes)
    report.passed_bytes = sum(size or 0 for size in sizes[: start.source])
    for index in range(start.source, len(sources)):
        source = sources[index]
        report.passed_bytes += (sizes[index - 1] or 0) if index > start.source else 0
        file = FileReport(source.location, stop=settings.on_bad_file == "stop")
        report.files.append(file)
        done = start.document if index == start.source else 0
        for document in _documents(source, settings, file):
            file.documents += 1
            if report.on_progress is not None:
                report.on_progress(report)
            if file.documents > done:
                yield ReadPosition(index, file.documents), document
        if not file.documents and not file.num_faults:
            _report_empty(file)
    if start == START and not report.documents:
        first = report.files[0].problem() if report.files else "no source was given"
        more = f" (and {len(report.files) - 1:,} more sources without text)" if len(report.files) > 1 else ""
        raise CorpusError(f"no document could be read: {first}{more}")


def _report_empty(file: FileReport) -> None:
    """Report a file without a document. One of which all pages were left out is as it should be, and stops nothing."""
    if not file.left_out:
        file.add_fault("has no text")
        return
    counts = ", ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in file.left_out.most_common())
    file.stop = False
    file.add_fault(f"has no article (left out: {counts})")


def _documents(source: Source, settings: CorpusSettings, report: FileReport) -> Iterator[Document]:
    try:
        with _peekable(source) as opened:
            reader = _reader(opened, settings)
            if isinstance(reader, str):
                yield from _members(opened, reader, settings, report)
            else:
                if (markup := kept_markup(opened, settings)) is not None:
                    report.notes[f"files are read as plain text with their {markup} ({opened.suffix})"] += 1
                yield from reader(opened, settings, report)
    except (UndecodableError, StoppedError):
        raise
    except READ_ERRORS as error:
        report.add_fault(_reason(error))
    except MasklingError:
        raise
    except Exception as error:
        report.add_fault(f"cannot be read: {type(error).__name__}: {error}")


def _members(archive: Source, kind: str, settings: CorpusSettings, report: FileReport) -> Iterator[Document]:
    """Yield the documents of the files in an archive, as of those in a folder."""
    if "::" in archive.location:
        raise CorpusError("is an archive in an archive; unpack the outer one first")
    for member in open_members(archive, kind, report):
        if settings.format == "auto" and not is_readable(member):
            report.notes[f"files in it left out, no reader for {member.suffix or 'names without suffix'}"] += 1
            continue
        before = report.documents, report.num_faults
        report.member = member.name.partition("/")[2]
        yield from _documents(member, settings, report)
        if before == (report.documents, report.num_faults):
            report.notes["files in it without text"] += 1
        report.member = ""


@contextlib.contextmanager
def _peekable(source: Source) -> Iterator[Source]:
    """Yield the source; a pipe, which can be opened only once, is opened."""
    location = source.location
    if source.opened is not None or "://" in location or location == "-" or not Path(location).is_fifo():
        yield source
        return
    with Path(location).open("rb") as pipe:
        yield replace(source, opened=pipe)


def _reader(source: Source, settings: CorpusSettings) -> ReadFunction | str:
    """Return the reader of a source, or the suffix of an archive."""
    if source.location.startswith("python-docs:"):
        return read_python_docs
    if source.location.startswith("hf:") and not source.location.startswith("hf://"):
        return read_hugging_face
    return find_reader(source, settings)


def _reason(error: Exception) -> str:
    if isinstance(error, CorpusError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read: {error.strerror}"
    return f"is damaged: {error or type(error).__name__}"
