"""How much of the sources has been read, by their size where they lie."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from maskling.corpus.document import Source
from maskling.corpus.report import ReadReport
from maskling.data.preparation.events import Reading


class HowFar:
    """The reading of `sources` from the one with the index `first`, which `report` follows."""

    def __init__(self, sources: Sequence[Source], report: ReadReport, first: int = 0) -> None:
        self._report, self._first = report, first
        self._before = [0, *accumulate(source.size or 0 for source in sources)]
        self._total = None if any(source.size is None for source in sources) else self._before[-1]

    def reading(self, documents: int, text_bytes: int) -> Reading:
        """The event for so many documents and bytes of text that were kept so far."""
        files = self._report.files
        read_bytes = self._before[self._first + len(files) - 1] + files[-1].place
        return Reading(documents, text_bytes, read_bytes, self._total)
