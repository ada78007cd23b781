"""The first stage: sources to parts of clean text, every document read once.

This process reads; the engine cleans and writes. What comes back is taken in the order in which it was
read, so that the first of two equal documents stays and parts end at the same document, however many
workers there are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path

from maskling.corpus.document import Document, Source
from maskling.corpus.pipeline import CleanDocument, Rejected, process, unseen
from maskling.corpus.reading import Position, read
from maskling.corpus.report import ReadReport
from maskling.corpus.settings import CorpusSettings
from maskling.data.preparation.events import Reading
from maskling.data.preparation.held_out import held_out_below
from maskling.data.preparation.open_part import NotingSeen, OpenPart
from maskling.data.preparation.parts import End, Part, read_seen, write_end, write_part
from maskling.data.preparation.pool import Engine, in_order
from maskling.data.settings import PrepareSettings

_CHUNK_CHARACTERS = 1 << 19

Chunk = list[tuple[Position, Document]]


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
    start = done[-1].tally.position if done else Position()
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

    chunks = chunked(read(sources, settings.corpus, report, start))
    for outcomes in in_order(engine, process_all, ((chunk, settings.corpus) for chunk in chunks)):
        for position, outcome in outcomes:
            fresh = unseen(outcome, seen, settings.corpus) if isinstance(outcome, CleanDocument) else outcome
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


def process_all(chunk: Chunk, settings: CorpusSettings) -> list[tuple[Position, CleanDocument | Rejected]]:
    """Clean some documents, wherever this runs."""
    return [(position, process(document, settings)) for position, document in chunk]


def chunked(documents: Iterator[tuple[Position, Document]]) -> Iterator[Chunk]:
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
