"""The part of the text that is being filled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from maskling.corpus.dedup import Seen
from maskling.corpus.pipeline import CleanDocument, Rejected
from maskling.corpus.reading import Position
from maskling.corpus.report import FileReport, ReadReport
from maskling.data.manifest import BadFile
from maskling.data.preparation.parts import Tally
from maskling.files import as_text

NOTED_BAD_FILES = 1000


class OpenPart:
    """Documents since the last part ended, and a tally of what was read for them.

    `report` may be ahead of the documents that were added: of it, only sources that the part has left
    behind count. total, total_bytes: documents and UTF-8 bytes kept, of all parts.
    """

    def __init__(self, start: Position, report: ReadReport, before: Sequence[Tally] = ()) -> None:
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

    def add(self, position: Position, outcome: CleanDocument | Rejected) -> None:
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


class NotingSeen(Seen):
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
    return BadFile(name=as_text(file.name), problem=as_text((file.problem() or "").removeprefix(f"{file.name}: ")))
