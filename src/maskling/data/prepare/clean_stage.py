"""The first stage of `prepare`: read every source once, clean, deduplicate, and write parts of clean text.

This process reads; the workers clean and write. Their results are taken in the order in which documents were read, so
that the first of two equal documents is kept and parts end at the same document, however many workers there are.

Documents are held out for validation if their digest is below a limit. A digest depends on the text alone, so a
document stays in its split when the corpus grows, and equal texts are always in the same split.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Generator, Sequence
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
from maskling.data.prepare.parts import EndNote, ReadCounts, TextPart, read_digests, write_end, write_part
from maskling.data.prepare.settings import PrepareSettings
from maskling.data.prepare.workers import Workers, in_order
from maskling.files import path_text
from maskling.grouping import grouped

# Characters of the documents that one call cleans: about a megabyte.
CHUNK_CHARACTERS = 1 << 19
NOTED_BAD_FILES = 1000

Chunk = list[tuple[ReadPosition, Document]]


def clean_text(
    folder: Path,
    sources: Sequence[Source],
    settings: PrepareSettings,
    part_bytes: int,
    done: Sequence[TextPart],
    workers: Workers,
) -> Generator[Reading, None, tuple[list[TextPart], EndNote]]:
    """Read, clean, deduplicate and write parts into `folder`, resuming after those that are `done`.

    Returns all parts and the end note. Raises CorpusError if nothing can be read.
    """
    seen = RecordingDigests()
    for part in done:
        for digest in read_digests(folder, part):
            seen.add(digest)
    seen.drain()
    start = done[-1].tally.position if done else ReadPosition()
    report = ReadReport()
    open_part = OpenPart(start, report, [part.tally for part in done])
    counting = settings.tokenizer if settings.tokenizer.path is None else None
    limit = held_out_limit(settings.shards.validation_fraction)
    parts = list(done)
    writing: deque[Future[TextPart]] = deque()

    def close() -> None:
        documents, tally = open_part.close()
        number = len(parts) + len(writing)
        writing.append(workers.submit(write_part, folder, number, documents, seen.drain(), tally, counting, limit))

    chunks = grouped(read_documents(sources, settings.corpus, report, start), num_characters, CHUNK_CHARACTERS)
    for outcomes in in_order(workers, process_chunk, ((chunk, settings.corpus) for chunk in chunks)):
        for position, outcome in outcomes:
            fresh = drop_duplicates(outcome, seen, settings.corpus) if isinstance(outcome, CleanDocument) else outcome
            open_part.add(position, fresh)
            if open_part.num_bytes >= part_bytes:
                close()
                # A part that waits for its worker is in memory as a whole: allow only a few.
                while len(writing) > 2 + workers.num_workers // 4:
                    parts.append(writing.popleft().result())
        yield Reading(open_part.total, open_part.total_bytes, report.read_bytes, report.total_bytes)
    if open_part.documents:
        close()
    parts += [future.result() for future in writing]
    end = EndNote(parts=len(parts), tally=open_part.close(all_read=True)[1])
    write_end(folder, end)
    return parts, end


def process_chunk(chunk: Chunk, settings: CorpusSettings) -> list[tuple[ReadPosition, CleanDocument | Rejected]]:
    """Clean some documents. Runs in a worker."""
    return [(position, process_document(document, settings)) for position, document in chunk]


def num_characters(read: tuple[ReadPosition, Document]) -> int:
    """Return the length of a document that was read."""
    return len(read[1].text)


class OpenPart:
    """The part that is being filled: documents since the last part ended, and counts of what was read for them.

    `report` may be ahead of the documents that were added: only sources that the part has passed are counted from it.
    total, total_bytes: documents and UTF-8 bytes kept, over all parts.
    """

    def __init__(self, start: ReadPosition, report: ReadReport, before: Sequence[ReadCounts] = ()) -> None:
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
        self._changes: Counter[str] = Counter()
        self.documents: list[CleanDocument] = []
        self.num_bytes = 0

    def add(self, position: ReadPosition, outcome: CleanDocument | Rejected) -> None:
        """Add the next document, or count the reason why it is rejected. position: just after it."""
        self.position = position
        self._read += 1
        if isinstance(outcome, Rejected):
            self._rejected[outcome.reason] += 1
        else:
            self.documents.append(outcome)
            self._changes.update(outcome.changes)
            num_bytes = len(outcome.text) if outcome.text.isascii() else len(outcome.text.encode())
            self.num_bytes += num_bytes
            self.total_bytes += num_bytes
            self.total += 1

    def close(self, all_read: bool = False) -> tuple[list[CleanDocument], ReadCounts]:
        """Return the documents and their counts, and begin the next part.

        all_read: nothing follows, so the current source has ended too.
        """
        end = None if all_read else self.position.source - self._report_start
        files = self._report.files[self._first_source - self._report_start : end]
        bad = [file for file in files if file.num_faults]
        for file in files:
            self._changes.update(file.notes)
        encodings = Counter(file.read_as for file in files if file.read_as is not None)
        documents = self.documents
        # What readers leave out was read as well; which part it is counted in does not matter.
        left_out = sum((file.left_out for file in files), Counter())
        tally = ReadCounts(
            source=self.position.source,
            document=self.position.document,
            read=self._read + left_out.total(),
            kept=len(documents),
            kept_bytes=self.num_bytes,
            rejected=dict(sorted((self._rejected + left_out).items())),
            replaced_bytes=sum(file.replaced_bytes for file in files),
            changes=dict(sorted(self._changes.items())),
            encodings=dict(sorted(encodings.items())),
            num_bad_files=len(bad),
            bad_files=tuple(map(_bad_file, bad[:NOTED_BAD_FILES])),
            notes=dict(sum((file.notes for file in files), Counter())),
            templates=dict(sorted(sum((file.templates for file in files), Counter()).items())),
        )
        self._begin()
        return documents, tally


class RecordingDigests(SeenDigests):
    """A set of digests that also records which ones were new, so that an interrupted run can restore them."""

    def __init__(self) -> None:
        super().__init__()
        self._fresh: list[int] = []

    def add(self, digest: int) -> bool:
        fresh = super().add(digest)
        if fresh:
            self._fresh.append(digest)
        return fresh

    def drain(self) -> list[int]:
        """Return the digests that were new since the last call."""
        fresh, self._fresh = self._fresh, []
        return fresh


def _bad_file(file: FileReport) -> BadFile:
    return BadFile(name=path_text(file.name), problem=path_text((file.problem() or "").removeprefix(f"{file.name}: ")))


def held_out_limit(fraction: float) -> int:
    """Return the limit of digests that holds out this fraction of all texts, in the long run."""
    return int(fraction * 2**64)


def adjusted_held_out_limit(fraction: float, parts: Sequence[TextPart]) -> int:
    """Return the limit for a whole corpus, moved as little as necessary so that neither split is empty.

    A corpus of one document (or of equal ones) holds out nothing.
    """
    limit = held_out_limit(fraction)
    if not limit or not parts:
        return 0
    smallest = min(part.digests[0] for part in parts)
    largest = max(part.digests[1] for part in parts)
    return min(max(limit, smallest + 1), largest)
