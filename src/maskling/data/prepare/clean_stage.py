"""The first stage: sources to parts of clean text, every document read once.

This process reads; the engine cleans and writes. What comes back is taken in the order in which it was
read, so that the first of two equal documents stays and parts end at the same document, however many
workers there are.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path

from maskling.corpus.dedup import SeenDigests
from maskling.corpus.document import Document, Source
from maskling.corpus.opening import FileReport, ReadReport
from maskling.corpus.pipeline import CleanDocument, Rejected, drop_duplicates, process_document
from maskling.corpus.reading import ReadPosition, read_documents
from maskling.corpus.settings import CorpusSettings
from maskling.data.manifest import BadFile
from maskling.data.prepare.events import Reading
from maskling.data.prepare.parts import End, Part, Tally, read_seen, write_end, write_part
from maskling.data.prepare.settings import PrepareSettings
from maskling.data.prepare.workers import Engine, in_order
from maskling.files import path_text

# FOLDED DOCS
# [open_part] The part of the text that is being filled.
# [held_out] Which documents are held out for validation: those whose digest is below a limit. A digest depends on the text alone, so a document stays on its side when the corpus grows, and equal texts are always on the same side.


_CHUNK_CHARACTERS = 1 << 19

Chunk = list[tuple[ReadPosition, Document]]


def clean_text(
    folder: Path,
    sources: Sequence[Source],
    settings: PrepareSettings,
    part_bytes: int,
    done: Sequence[Part],
    engine: Engine,
) -> Generator[Reading, None, tuple[list[Part], End]]:
    """Read, clean, deduplicate and write parts into `folder`, going on after those that are `done`.

    Returns all parts and the end. Raises CorpusError if nothing can be read.
    """
    seen = NotingSeen()
    for part in done:
        for digest in read_seen(folder, part):
            seen.add(digest)
    seen.drain()
    start = done[-1].tally.position if done else ReadPosition()
    report = ReadReport()
    open_part = OpenPart(start, report, [part.tally for part in done])
    counting = settings.tokenizer if settings.tokenizer.path is None else None
    below = held_out_below(settings.shards.validation_fraction)
    parts = list(done)
    writing: deque[Future[Part]] = deque()

    def close() -> None:
        documents, tally = open_part.close()
        number = len(parts) + len(writing)
        writing.append(engine.submit(write_part, folder, number, documents, seen.drain(), tally, counting, below))

    chunks = chunked(read_documents(sources, settings.corpus, report, start))
    for outcomes in in_order(engine, process_all, ((chunk, settings.corpus) for chunk in chunks)):
        for position, outcome in outcomes:
            fresh = drop_duplicates(outcome, seen, settings.corpus) if isinstance(outcome, CleanDocument) else outcome
            open_part.add(position, fresh)
            if open_part.num_bytes >= part_bytes:
                close()
                # A part waits for its worker in full: only a few at once.
                while len(writing) > 2 + engine.workers // 4:
                    parts.append(writing.popleft().result())
        yield Reading(open_part.total, open_part.total_bytes, report.read_bytes, report.total_bytes)
    if open_part.documents:
        close()
    parts += [future.result() for future in writing]
    end = End(parts=len(parts), tally=open_part.close(all_read=True)[1])
    write_end(folder, end)
    return parts, end


def process_all(chunk: Chunk, settings: CorpusSettings) -> list[tuple[ReadPosition, CleanDocument | Rejected]]:
    """Clean some documents, wherever this runs."""
    return [(position, process_document(document, settings)) for position, document in chunk]


def chunked(documents: Iterator[tuple[ReadPosition, Document]]) -> Iterator[Chunk]:
    """Documents in lists of about a megabyte, the size of one call."""
    chunk: Chunk = []
    size = 0
    for position, document in documents:
        chunk.append((position, document))
        size += len(document.text)
        if size >= _CHUNK_CHARACTERS:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


NOTED_BAD_FILES = 1000


class OpenPart:
    """Documents since the last part ended, and a tally of what was read for them.

    `report` may be ahead of the documents that were added: of it, only sources that the part has left
    behind count. total, total_bytes: documents and UTF-8 bytes kept, of all parts.
    """

    def __init__(self, start: ReadPosition, report: ReadReport, before: Sequence[Tally] = ()) -> None:
        self._report = report
        self._report_start = start.source
        self.position = start
        self.total = sum(tally.kept for tally in before)
        self.total_bytes = sum(tally.kept_bytes for tally in before)
        self._begin()

    def _begin(self) -> None:
        self._first_source = self.position.source
        self._read = 0
        self._rejected: Counter[str] = Counter()
        self.documents: list[CleanDocument] = []
        self.num_bytes = 0

    def add(self, position: ReadPosition, outcome: CleanDocument | Rejected) -> None:
        """Take in the next document, or the reason why it is left out. position: just after it."""
        self.position = position
        self._read += 1
        if isinstance(outcome, Rejected):
            self._rejected[outcome.reason] += 1
        else:
            self.documents.append(outcome)
            num_bytes = len(outcome.text) if outcome.text.isascii() else len(outcome.text.encode())
            self.num_bytes += num_bytes
            self.total_bytes += num_bytes
            self.total += 1

    def close(self, all_read: bool = False) -> tuple[list[CleanDocument], Tally]:
        """Hand over the documents and their tally, and begin the next part.

        all_read: there is nothing after, so that the source at hand has ended too.
        """
        end = None if all_read else self.position.source - self._report_start
        files = self._report.files[self._first_source - self._report_start : end]
        bad = [file for file in files if file.num_faults]
        documents = self.documents
        tally = Tally(
            source=self.position.source,
            document=self.position.document,
            read=self._read,
            kept=len(documents),
            kept_bytes=self.num_bytes,
            rejected=dict(sorted(self._rejected.items())),
            replaced_bytes=sum(file.replaced_bytes for file in files),
            num_bad_files=len(bad),
            bad_files=tuple(map(_noted, bad[:NOTED_BAD_FILES])),
        )
        self._begin()
        return documents, tally


class NotingSeen(SeenDigests):
    """A set of digests that also notes which ones were new, so that an interrupted run can have them back."""

    def __init__(self) -> None:
        super().__init__()
        self._fresh: list[int] = []

    def add(self, digest: int) -> bool:
        fresh = super().add(digest)
        if fresh:
            self._fresh.append(digest)
        return fresh

    def drain(self) -> list[int]:
        """The digests that were new since the last call."""
        fresh, self._fresh = self._fresh, []
        return fresh


def _noted(file: FileReport) -> BadFile:
    return BadFile(name=path_text(file.name), problem=path_text((file.problem() or "").removeprefix(f"{file.name}: ")))


def held_out_below(fraction: float) -> int:
    """The limit that holds out this fraction of all texts, in the long run."""
    return int(fraction * 2**64)


def fitted_limit(fraction: float, parts: Sequence[Part]) -> int:
    """The limit for a whole corpus: moved as little as it takes so that neither side is empty.

    With one document (or none but equal ones) there is nothing to hold out.
    """
    below = held_out_below(fraction)
    if not below or not parts:
        return 0
    smallest = min(part.digests[0] for part in parts)
    largest = max(part.digests[1] for part in parts)
    return min(max(below, smallest + 1), largest)
