"""What reading found: documents of each file, and what was wrong with which."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO

from maskling.errors import CorpusError

SHOWN_FAULTS = 5


class StoppedError(CorpusError):
    """The first fault, where faults are to stop the whole reading."""


@dataclass(slots=True)
class FileReport:
    """One source. A fault is one line: what was wrong and where; only the first few are kept, all are counted.

    stop: raise the first fault instead of keeping it.
    """

    name: str
    stop: bool = False
    documents: int = 0
    replaced_bytes: int = 0
    num_faults: int = 0
    faults: list[str] = field(default_factory=list)
    _stream: IO[bytes] | None = None
    _place: int = 0

    @property
    def place(self) -> int:
        """Bytes of the file as it lies there, compressed or not, that have been read; of a pipe none."""
        if self._stream is not None:
            with contextlib.suppress(OSError):  # a pipe
                self._place = self._stream.tell()
        return self._place

    @contextlib.contextmanager
    def follows(self, stream: IO[bytes]) -> Iterator[None]:
        """Within the block `place` is where `stream` is, and afterwards where it was left."""
        self._stream = stream
        try:
            yield
        finally:
            _ = self.place
            self._stream = None

    def add_fault(self, message: str) -> None:
        """Count a fault, and keep its message if it is among the first. Raises StoppedError if `stop`."""
        if self.stop:
            raise StoppedError(f"{self.name}: {message}")
        self.num_faults += 1
        if len(self.faults) < SHOWN_FAULTS:
            self.faults.append(message)

    def problem(self) -> str | None:
        """One line about what was wrong with this file, or None."""
        parts = []
        if self.faults:
            more = f" (and {self.num_faults - 1:,} more like it)" if self.num_faults > 1 else ""
            kept = f"; {self.documents:,} documents kept" if self.documents else "; nothing kept"
            parts.append(f"{self.faults[0]}{more}{kept}")
        if self.replaced_bytes:
            parts.append(f"{self.replaced_bytes:,} bytes were no text and were replaced")
        return f"{self.name}: {'; '.join(parts)}" if parts else None


@dataclass(slots=True)
class ReadReport:
    """All sources read so far.

    files: one for each source that was opened, in order; skipped: files of a folder that no reader
    knows, counted by suffix. total_bytes: of all sources as they lie there, None if a size is not known;
    passed_bytes: of those before the one at hand. told: is called with this after each document.
    """

    files: list[FileReport] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    total_bytes: int | None = 0
    passed_bytes: int = 0
    told: Callable[[ReadReport], object] | None = None

    @property
    def read_bytes(self) -> int:
        """How many of `total_bytes` have been read."""
        return self.passed_bytes + (self.files[-1].place if self.files else 0)

    @property
    def documents(self) -> int:
        """Documents of all files."""
        return sum(file.documents for file in self.files)

    @property
    def replaced_bytes(self) -> int:
        """Bytes that were replaced, over all files."""
        return sum(file.replaced_bytes for file in self.files)

    @property
    def bad_files(self) -> list[FileReport]:
        """The files with at least one fault."""
        return [file for file in self.files if file.num_faults]

    def problems(self) -> list[str]:
        """One line for each file with something wrong, and one for what was skipped."""
        lines = [line for file in self.files if (line := file.problem())]
        if self.skipped:
            most = sorted(self.skipped.items(), key=lambda item: (-item[1], item[0]))
            counts = ", ".join(f"{count:,} {suffix or 'without suffix'}" for suffix, count in most)
            lines.append(f"skipped, no reader for their suffix: {counts}; name a file itself to read it as plain text")
        return lines
