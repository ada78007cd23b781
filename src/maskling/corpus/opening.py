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
from collections.abc import Iterator
from pathlib import Path
from typing import IO, BinaryIO, cast

import zstandard

from maskling.corpus.document import Source
from maskling.corpus.report import FileReport
from maskling.errors import CorpusError

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
