"""Decode bytes to text: byte order marks, declared encodings, invalid bytes, binary files."""

from __future__ import annotations

import codecs
import io
import threading
from collections.abc import Callable, Iterator
from typing import BinaryIO

from maskling.corpus.opening import FileReport
from maskling.corpus.settings import CorpusSettings
from maskling.errors import CorpusError

_BLOCK = 1 << 16
# UTF-32 first: its little-endian mark begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_MOST_INVALID = 0.1
_MOST_ZERO = 0.001
_NEAR = 1000


class UndecodableError(CorpusError):
    """Invalid bytes under errors='strict'; stops reading altogether."""


def decode(
    stream: BinaryIO,
    settings: CorpusSettings,
    report: FileReport,
    declared: Callable[[bytes], str | None] | None = None,
) -> Iterator[str]:
    r"""Yield the text of a stream in blocks, with '\n' for every line break; count replaced bytes in `report`.

    The encoding is that of a byte order mark if there is one, then settings.encoding, then the one that `declared`
    finds in the first block, then UTF-8.
    Raises CorpusError if the first block is binary or clearly in another encoding, and
    UndecodableError, with the line, for the first invalid byte under errors='strict'.
    """
    block = stream.read(_BLOCK)
    encoding = next((name for mark, name in _MARKS if block.startswith(mark)), None)
    if encoding is None and settings.encoding != "auto":
        encoding = settings.encoding
    if encoding is None:
        encoding = (declared(block) if declared else None) or "utf-8"
    wide = codecs.lookup(encoding).name.startswith(("utf-16", "utf-32"))
    if not wide and block.count(0) > _MOST_ZERO * len(block):
        raise CorpusError(
            "is binary, not text (it has zero bytes); leave it out, or set corpus.encoding if it is UTF-16 or UTF-32"
        )
    errors = "strict" if settings.errors == "strict" else _HANDLER
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder(encoding)(errors), translate=True)
    lines, first = 1, True
    while True:
        _replaced.count = 0
        try:
            text = decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            lines += _count_lines(error.object[: error.start], encoding)
            raise UndecodableError(
                f"{report.name}, line {lines:,}: byte 0x{error.object[error.start]:02x} is not {encoding} "
                f"({error.reason}); set corpus.encoding to the encoding of the file, or corpus.errors to 'replace'"
            ) from None
        if first and _replaced.count > _MOST_INVALID * len(block):
            raise CorpusError(
                f"is not {encoding} text ({_replaced.count / len(block):.0%} of its beginning is invalid); "
                "leave it out, or set corpus.encoding to its encoding (gbk, utf-16, latin-1, ...)"
            )
        report.replaced_bytes += _replaced.count
        lines += text.count("\n")
        first = False
        if text:
            yield text
        if not block:
            return
        block = stream.read(_BLOCK)


def split_into_lines(blocks: Iterator[str], longest: int, at_spaces: bool = False) -> Iterator[str]:
    r"""Yield lines with their '\n'. A line longer than `longest` characters is split, and only its last piece has '\n'.

    at_spaces: split after a space, if there is one near.
    """
    held: list[str] = []
    size = 0
    for block in blocks:
        start = 0
        while (end := block.find("\n", start) + 1) > 0:
            yield "".join([*held, block[start:end]]) if held else block[start:end]
            held.clear()
            size = 0
            start = end
        if start < len(block):
            held.append(block[start:] if start else block)
            size += len(block) - start
        if size >= longest:
            piece = "".join(held)
            end = (piece.rfind(" ", len(piece) - _NEAR) + 1 if at_spaces else 0) or len(piece)
            yield piece[:end]
            held = [piece[end:]] if end < len(piece) else []
            size = len(piece) - end
    if held:
        yield "".join(held)


# codecs looks up error handlers by name only, so the count of the current call is kept in a thread-local variable.
_HANDLER = "maskling.replace-and-count"
_replaced = threading.local()


def _replace_and_count(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    _replaced.count += error.end - error.start
    return "\ufffd", error.end


codecs.register_error(_HANDLER, _replace_and_count)


def _count_lines(data: bytes, encoding: str) -> int:
    text = data.decode(encoding, "replace")
    return text.count("\n") + text.count("\r") - text.count("\r\n")
