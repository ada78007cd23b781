"""Bytes from anywhere: local files, standard input and whatever fsspec opens, decompressed by suffix."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import shutil
import sys
import tempfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, BinaryIO, cast

import zstandard

from maskling.corpus.document import Source
from maskling.errors import CorpusError

# FOLDED DOCS
# [report] What reading found: documents of each file, and what was wrong with which.


# Everything that a damaged, vanished or unreadable file makes these libraries raise.
READ_ERRORS = (OSError, EOFError, zlib.error, lzma.LZMAError, zstandard.ZstdError, CorpusError)


@contextlib.contextmanager
def open_bytes(source: Source, report: FileReport | None = None) -> Iterator[BinaryIO]:
    """Open a source to read its decompressed bytes from start to end; `report` tells how far that is.

    Raises CorpusError if the driver for its address is missing; OSError and the errors of the
    decompressors (READ_ERRORS) come through while reading.
    """
    with contextlib.ExitStack() as stack:
        raw = sys.stdin.buffer if source.location == "-" else stack.enter_context(_open_raw(source.location))
        if report is not None:
            stack.enter_context(report.follows(raw))
        match source.compression:
            case ".gz":
                yield cast(BinaryIO, stack.enter_context(gzip.open(raw)))
            case ".bz2":
                yield cast(BinaryIO, stack.enter_context(bz2.open(raw)))
            case ".xz":
                yield cast(BinaryIO, stack.enter_context(lzma.open(raw)))
            case ".zst":
                yield cast(BinaryIO, io.BufferedReader(_Zstandard(raw), 1 << 17))
            case _:
                yield cast(BinaryIO, raw)


@contextlib.contextmanager
def open_seekable(source: Source, report: FileReport | None = None) -> Iterator[BinaryIO]:
    """Open a source to read it in any order, through a temporary file where the original cannot do that."""
    with open_bytes(source, report) as stream:
        if source.compression is None and source.location != "-" and stream.seekable():
            yield stream
            return
        with tempfile.TemporaryFile() as copy:
            shutil.copyfileobj(stream, copy)
            copy.seek(0)
            yield cast(BinaryIO, copy)


def _open_raw(location: str) -> contextlib.AbstractContextManager[IO[bytes]]:
    if "://" not in location:
        return Path(location).open("rb")
    import fsspec

    try:
        return cast(contextlib.AbstractContextManager[IO[bytes]], fsspec.open(location, "rb").open())
    except ImportError as error:
        raise CorpusError(missing_driver(location, error)) from None
    except (OSError, ValueError) as error:
        raise CorpusError(f"cannot be opened: {error}") from None


def missing_driver(location: str, error: Exception) -> str:
    """What to say when fsspec lacks the package for an address; its own message names the package."""
    return f"'{location.split('://')[0]}://' addresses need one more package: {error}; then run the command again"


class _Zstandard(io.RawIOBase):
    """Zstandard frames as a stream. The library's own reader takes a cut-off file for a complete one."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self._frame = self._new_frame()
        self._started = False
        self._left = b""
        self._ready = memoryview(b"")

    @staticmethod
    def _new_frame() -> zstandard.ZstdDecompressionObj:
        # Files of 'zstd --long=31' need a window of 2 GiB.
        return zstandard.ZstdDecompressor(max_window_size=1 << 31).decompressobj()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._ready:
            block = self._left or self._raw.read(1 << 16)
            self._left = b""
            if not block:
                if self._started:
                    raise EOFError("the compressed file is cut off before its end")
                return 0
            self._ready = memoryview(self._frame.decompress(block))
            self._started = True
            if self._frame.eof:
                self._left = self._frame.unused_data
                self._frame = self._new_frame()
                self._started = False
        count = min(len(buffer), len(self._ready))
        buffer[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count


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
