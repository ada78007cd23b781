"""Open sources as bytes (local files, standard input, fsspec URLs), decompressed by suffix, and report problems."""

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

from maskling.console import agreeing, counted
from maskling.corpus.document import Source
from maskling.errors import CorpusError

# All exceptions that these libraries raise for a damaged, missing or unreadable file.
READ_ERRORS = (OSError, EOFError, zlib.error, lzma.LZMAError, zstandard.ZstdError, CorpusError)


# The first bytes of compressed data. The name may not have the suffix: downloads and exports often lack it.
_MAGIC = {b"\x1f\x8b\x08": ".gz", b"BZh": ".bz2", b"\xfd7zXZ\x00": ".xz", b"\x28\xb5\x2f\xfd": ".zst"}
_HEAD_BYTES = 1 << 16
# A block of a .bz2 is decompressed as a whole: fewer bytes of it give none.
_BZ2_BYTES = 1 << 20


@contextlib.contextmanager
def open_bytes(source: Source, report: FileReport | None = None) -> Iterator[BinaryIO]:
    """Open a source to read its decompressed bytes from start to end; `report` follows the position.

    The suffix says how the bytes are compressed; without one their beginning does.
    Raises CorpusError if the driver for its URL is missing; OSError and the errors of the
    decompressors (READ_ERRORS) propagate while reading.
    """
    with contextlib.ExitStack() as stack:
        raw = stack.enter_context(_open_raw(source))
        if report is not None and source.opened is None:
            stack.enter_context(report.follows(raw))
        match _compression(source, raw):
            case ".gz":
                yield cast(BinaryIO, io.BufferedReader(_Gzip(raw, report), 1 << 17))
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
    """Open a source for random access, through a temporary file if the original is not seekable."""
    with open_bytes(source, report) as stream:
        if source.compression is None and source.opened is None and source.location != "-" and _seeks(stream):
            yield stream
            return
        with tempfile.TemporaryFile() as copy:
            shutil.copyfileobj(stream, copy)
            copy.seek(0)
            yield cast(BinaryIO, copy)


def read_head(source: Source) -> bytes:
    """Return the first decompressed bytes of a source, at most 64 KiB, and leave an opened one where it was.

    Fewer, or none, are returned where the compressed data are damaged.
    """
    with _open_raw(source) as raw:
        once = source.opened is not None or source.location == "-"
        head = _peek(raw, _HEAD_BYTES) if once else raw.read(_HEAD_BYTES)
        compression = _compression_of(source, head)
        if compression == ".bz2" and not once:
            head += raw.read(_BZ2_BYTES - len(head))
    try:
        match compression:
            case ".gz":
                return zlib.decompressobj(31).decompress(head, _HEAD_BYTES)
            case ".bz2":
                return bz2.BZ2Decompressor().decompress(head, _HEAD_BYTES)
            case ".xz":
                return lzma.LZMADecompressor().decompress(head, _HEAD_BYTES)
            case ".zst":
                return new_frame().decompress(head)[:_HEAD_BYTES]
            case _:
                return head
    except READ_ERRORS:
        return b""


def _compression(source: Source, raw: IO[bytes]) -> str | None:
    return source.compression or _compression_of(source, _peek(raw, 8))


def _peek(raw: IO[bytes], size: int) -> bytes:
    """Return some of the next bytes, usually at least `size`, and leave the position where it was."""
    if hasattr(raw, "peek"):
        return cast(io.BufferedReader, raw).peek(size)
    head = raw.read(size)
    raw.seek(raw.tell() - len(head))
    return head


def _compression_of(source: Source, head: bytes) -> str | None:
    # A .bz2 has the size of its blocks and the start of one, or an empty one, after these three bytes.
    found = next((suffix for magic, suffix in _MAGIC.items() if head.startswith(magic)), None)
    if found == ".bz2" and head[4:7] not in (b"1AY", b"\x17rE"):
        found = None
    return source.compression or found


def _seeks(stream: BinaryIO) -> bool:
    """Return whether a stream can be read in any order; some of those over HTTP claim it and cannot."""
    try:
        if not stream.seekable():
            return False
        stream.seek(0, io.SEEK_END)
        stream.seek(0)
    except (OSError, ValueError):
        return False
    return True


@contextlib.contextmanager
def _open_raw(source: Source) -> Iterator[IO[bytes]]:
    """Open the bytes as stored, to be read and peeked into."""
    if source.opened is not None:
        yield source.opened
    elif source.location == "-":
        yield sys.stdin.buffer
    elif "://" not in source.location:
        with Path(source.location).open("rb") as raw:
            yield raw
    else:
        import fsspec

        with contextlib.ExitStack() as stack:
            try:
                # The stream of a chained URL lives only as long as its OpenFile, so both are entered here.
                raw = stack.enter_context(fsspec.open(source.location, "rb"))
            except ImportError as error:
                raise CorpusError(missing_driver(source.location, error)) from None
            except FileNotFoundError:
                raise
            except (OSError, ValueError, RuntimeError, NotImplementedError) as error:
                raise CorpusError(f"cannot be opened: {error}") from None
            yield raw if hasattr(raw, "peek") else io.BufferedReader(raw, 1 << 17)


def missing_driver(location: str, error: Exception) -> str:
    """Return the message for a URL whose package fsspec lacks; fsspec's own message names the package."""
    return f"'{location.split('://')[0]}://' URLs need one more package: {error}; then run the command again"


def new_frame() -> zstandard.ZstdDecompressionObj:
    """Return a decompressor of one frame; those of 'zstd --long=31' need a window of 2 GiB."""
    return zstandard.ZstdDecompressor(max_window_size=1 << 31).decompressobj()


class _Gzip(io.RawIOBase):
    """Gzip members as a stream. Bytes after the last one, which copies and tapes leave, are ignored with a note."""

    def __init__(self, raw: IO[bytes], report: FileReport | None) -> None:
        self._raw = raw
        self._report = report
        self._member: zlib._Decompress | None = None
        self._members = 0
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        left, self._left = self._left, b""
        while True:
            if self._member is None:
                while len(left) < 2 and (more := self._raw.read(1 << 16)):
                    left += more
                if not left or (self._members and not left.startswith(b"\x1f\x8b")):
                    self._ignore(left)
                    return 0
                if not left.startswith(b"\x1f\x8b"):
                    raise gzip.BadGzipFile(f"Not a gzipped file ({left[:2]!r})")
                self._member = zlib.decompressobj(31)
            data = self._member.unconsumed_tail or left or self._raw.read(1 << 16)
            if not data:
                raise EOFError("Compressed file ended before the end-of-stream marker was reached")
            found = self._member.decompress(data, len(buffer))
            left = b""
            if self._member.eof:
                left, self._member = self._member.unused_data, None
                self._members += 1
            if found:
                self._left = left
                buffer[: len(found)] = found
                return len(found)

    def _ignore(self, rest: bytes) -> None:
        # Tapes and some programs pad with zeros, which gunzip does not mention either.
        if rest.strip(b"\0") and self._report is not None:
            self._report.notes["stretches of bytes after the end of the compressed data were ignored"] += 1
        while self._raw.read(1 << 16):
            pass


class _Zstandard(io.RawIOBase):
    """Zstandard frames as a stream. The library's own reader accepts a truncated file as complete."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self._frame = new_frame()
        self._started = False
        self._left = b""
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._ready:
            block = self._left or self._raw.read(1 << 16)
            self._left = b""
            if not block:
                if self._started:
                    raise EOFError("the compressed file is truncated")
                return 0
            self._ready = memoryview(self._frame.decompress(block))
            self._started = True
            if self._frame.eof:
                self._left = self._frame.unused_data
                self._frame = new_frame()
                self._started = False
        count = min(len(buffer), len(self._ready))
        buffer[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count


SHOWN_FAULTS = 5


class StoppedError(CorpusError):
    """The first problem, under on_bad_file='stop': stops reading altogether."""


@dataclass(slots=True)
class FileReport:
    """The documents and problems of one source.

    A fault is one line: what was wrong and where. The first few are kept, all are counted.
    stop: raise the first fault instead of keeping it. member: of an archive, named before its faults.
    read_as: an encoding that nothing named.
    left_out: documents that the reader left out, by reason; templates: unknown ones in wikitext, by name.
    notes: what is no fault but differs from the file, with a count ('documents without text').
    """

    name: str
    stop: bool = False
    member: str = ""
    documents: int = 0
    replaced_bytes: int = 0
    num_faults: int = 0
    faults: list[str] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    templates: Counter[str] = field(default_factory=Counter)
    read_as: str | None = None
    _stream: IO[bytes] | None = None
    _position: int = 0

    @property
    def position(self) -> int:
        """Bytes read of the file as stored, compressed or not; 0 for a pipe."""
        if self._stream is not None:
            with contextlib.suppress(OSError):  # a pipe
                self._position = self._stream.tell()
        return self._position

    @contextlib.contextmanager
    def follows(self, stream: IO[bytes]) -> Iterator[None]:
        """Report the position of `stream` as `position` within the block, and its last position afterwards."""
        self._stream = stream
        try:
            yield
        finally:
            _ = self.position
            self._stream = None

    def add_fault(self, message: str) -> None:
        """Count a fault, and keep its message if it is one of the first. Raises StoppedError if `stop`."""
        if self.member:
            message = f"{self.member}: {message}"
        if self.stop:
            raise StoppedError(f"{self.name}: {message}")
        self.num_faults += 1
        if len(self.faults) < SHOWN_FAULTS:
            self.faults.append(message)

    def problem(self) -> str | None:
        """Return one line about the problems of this file, or None."""
        parts = []
        if self.faults:
            more = f" (and {self.num_faults - 1:,} more like it)" if self.num_faults > 1 else ""
            kept = f"; {counted(self.documents, 'document')} kept" if self.documents else "; nothing kept"
            parts.append(f"{self.faults[0]}{more}{kept}")
        if self.replaced_bytes:
            parts.append(agreeing(self.replaced_bytes, "bytes were not valid text and were replaced"))
        parts += [agreeing(count, note) for note, count in self.notes.items()]
        if self.read_as:
            parts.append(f"read as {self.read_as}")
        return f"{self.name}: {'; '.join(parts)}" if parts else None


@dataclass(slots=True)
class ReadReport:
    """The documents and problems of all sources read so far.

    files: one per opened source, in order; skipped: files of a folder without a reader, counted by suffix;
    left_out: what else of a folder is not read, and why.
    total_bytes: size of all sources as stored, None if a size is not known; passed_bytes: size of those before the
    current one. on_progress: called with this report after each document, to show progress.
    """

    files: list[FileReport] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    left_out: list[str] = field(default_factory=list)
    total_bytes: int | None = 0
    passed_bytes: int = 0
    on_progress: Callable[[ReadReport], object] | None = None

    @property
    def read_bytes(self) -> int:
        """Bytes read, out of `total_bytes`."""
        return self.passed_bytes + (self.files[-1].position if self.files else 0)

    @property
    def documents(self) -> int:
        """Number of documents, over all files."""
        return sum(file.documents for file in self.files)

    @property
    def replaced_bytes(self) -> int:
        """Number of invalid bytes that were replaced, over all files."""
        return sum(file.replaced_bytes for file in self.files)

    @property
    def bad_files(self) -> list[FileReport]:
        """The files with at least one fault."""
        return [file for file in self.files if file.num_faults]

    def problems(self) -> list[str]:
        """Return one line per file with problems, and lines for what was left out or skipped."""
        lines = [line for file in self.files if (line := file.problem())]
        lines += self.left_out[:SHOWN_FAULTS]
        if len(self.left_out) > SHOWN_FAULTS:
            lines.append(f"and {len(self.left_out) - SHOWN_FAULTS:,} more that were left out")
        if self.skipped:
            most = sorted(self.skipped.items(), key=lambda item: (-item[1], item[0]))
            counts = ", ".join(f"{count:,} {suffix or 'without suffix'}" for suffix, count in most)
            lines.append(f"skipped, no reader for their suffix: {counts}; name a file itself to read it as plain text")
        return lines
