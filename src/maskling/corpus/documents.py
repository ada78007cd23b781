"""Clean documents from sources, one after the other, where nothing is to be kept on disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from maskling.corpus.dedup import Seen
from maskling.corpus.pipeline import CleanDocument, process, unseen
from maskling.corpus.reading import read
from maskling.corpus.report import ReadReport
from maskling.corpus.settings import CorpusSettings
from maskling.corpus.sources import expand

# Text that is worth encoding at once.
_BATCH_CHARACTERS = 1 << 20


def clean_batches(
    sources: Sequence[str], settings: CorpusSettings, report: ReadReport
) -> Iterator[list[CleanDocument]]:
    """The documents that `prepare` would keep, about a million characters at a time. Raises CorpusError as `read`."""
    seen = Seen()
    batch: list[CleanDocument] = []
    size = 0
    for _, document in read(expand(sources, report, settings.format != "auto"), settings, report):
        found = process(document, settings)
        fresh = unseen(found, seen, settings) if isinstance(found, CleanDocument) else found
        if isinstance(fresh, CleanDocument):
            batch.append(fresh)
            size += len(fresh.text)
            if size >= _BATCH_CHARACTERS:
                yield batch
                batch, size = [], 0
    if batch:
        yield batch
