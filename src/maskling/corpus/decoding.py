"""Decode bytes to text: byte order marks, declared encodings, invalid bytes, binary files."""

from __future__ import annotations

import codecs
import io
import re
import threading
from collections.abc import Callable, Iterator
from typing import BinaryIO, NamedTuple

from maskling.corpus.detection import guess_encoding, guess_wide_encoding
from maskling.corpus.opening import FileReport
from maskling.corpus.settings import CorpusSettings
from maskling.corpus.web_encodings import codec_decoder, web_encoding
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
_MOST_ZERO_IN_TEXT = 0.01
_CONTROLS = bytes([*range(1, 9), *range(14, 27), *range(28, 32), 127])
_NEAR = 1000
# Text in another encoding may have its first byte beyond ASCII late, and few of them: so much is read to recognize it.
_MOST_AHEAD = 1 << 20
_ENOUGH_INVALID = 25
# Fewer invalid bytes, where no encoding fits for certain, are damage: they are replaced, and the file is read.
_STRAY = 4
_STRAY_SHARE = 0.1
# Valid sequences of UTF-8 that are no coincidence in a text that declares another encoding.
_CERTAIN = 3
_LATIN_SHARE = 0.9
_ESCAPES = re.compile(rb"\x1b\$[@B]|\x1b\$\)C|~\{[!-~]{2}|\+[A-Za-z0-9/]{3,}-")


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
    finds in the first block, then UTF-8. Text that is plainly UTF-8 is read as UTF-8 whatever was set or declared.
    Text that is not, and for which nothing else was said, is read in the encoding that it is certainly in.
    Raises CorpusError if the text is binary or in an encoding that is not certain, and
    UndecodableError, with the line, for the first invalid byte under errors='strict'.
    """
    block = stream.read(_BLOCK)
    marked = next((name for mark, name in _MARKS if block.startswith(mark)), None)
    said = None
    if marked is None:
        said = settings.encoding if settings.encoding != "auto" else declared(block) if declared else None
        said = None if said is not None and web_encoding(said) == "utf-8" else said
    encoding = marked or said or "utf-8"
    if 0 in block and not _is_wide(encoding):
        encoding = _wide(block, encoding, report)
    strict = settings.errors == "strict"
    open_question = encoding == "utf-8" and not strict
    if open_question and block.isascii() and _ESCAPES.search(block):
        encoding = _recognized(block, report) or encoding
    decoder = _new_decoder(encoding, strict)
    lines, first = 1, True
    # Whether the blocks so far are ASCII, which is the same in UTF-8 and in what else a text may be in.
    ascii_so_far = marked is None
    while True:
        if ascii_so_far and not block.isascii():
            ascii_so_far = False
            if open_question and encoding == "utf-8":
                block, encoding = _settle(block, stream, report)
            elif said is not None and encoding == said and _is_utf8(block):
                encoding = "utf-8"
                report.read_as = f"UTF-8, which it plainly is, not {said}"
            elif declared is not None and settings.encoding == "auto" and not strict:
                encoding = _alphabet(block, encoding, report)
            if encoding != "utf-8" or said is not None:
                decoder = _new_decoder(encoding, strict)
        _state.replaced = _state.islands = 0
        try:
            text = decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            lines += _count_lines(error.object[: error.start], encoding)
            raise UndecodableError(
                f"{report.name}, line {lines:,}: byte 0x{error.object[error.start]:02x} is not {encoding} "
                f"({error.reason}); set corpus.encoding to the encoding of the file, or corpus.errors to 'replace'"
            ) from None
        if first and _state.replaced > _MOST_INVALID * len(block):
            raise CorpusError(
                f"is not {encoding} text ({_state.replaced / len(block):.0%} of its beginning is invalid); "
                "leave it out, or set corpus.encoding to its encoding (gbk, utf-16, latin-1, ...)"
            )
        report.replaced_bytes += _state.replaced
        if _state.islands:
            report.notes["bytes of windows-1252 among UTF-8 were read as such"] += _state.islands
        lines += text.count("\n")
        first = False
        if text:
            yield text
        if not block:
            return
        block = stream.read(_BLOCK)


def _is_wide(encoding: str) -> bool:
    try:
        name = codecs.lookup(web_encoding(encoding) or encoding).name
    except LookupError:  # a name of the web only
        return False
    return name.startswith(("utf-16", "utf-32"))


def _new_decoder(encoding: str, strict: bool) -> io.IncrementalNewlineDecoder:
    errors = "strict" if strict else _UTF8_HANDLER if encoding == "utf-8" else _HANDLER
    return io.IncrementalNewlineDecoder(codec_decoder(encoding, errors), translate=True)


def _wide(block: bytes, encoding: str, report: FileReport) -> str:
    """Return the encoding of text with zero bytes. Raises CorpusError if it is binary."""
    zeros = block.count(0)
    if zeros <= _MOST_ZERO * len(block):
        return encoding
    wide = guess_wide_encoding(block)
    if wide is not None:
        report.read_as = wide
        return wide
    # Some programs pad fields with a zero here and there in text that is otherwise whole.
    whole = not any(map(block.count, _CONTROLS)) and _count_utf8(block).invalid == 0
    if not whole or zeros > _MOST_ZERO_IN_TEXT * len(block):
        raise CorpusError(
            "is binary, not text (it has zero bytes); leave it out, or set corpus.encoding if it is UTF-16 or UTF-32"
        )
    return encoding


def _recognized(block: bytes, report: FileReport) -> str | None:
    """Return the encoding of ASCII bytes with escapes for other characters. Raises CorpusError if it is uncertain."""
    guess = guess_encoding(block)
    if guess is None or guess.encoding not in ("iso-2022-jp", "iso2022_kr", "hz", "utf-7"):
        return None
    if not guess.sure:
        raise CorpusError(
            f"is ASCII that looks like {guess.encoding}; set corpus.encoding to {guess.encoding}, or to ascii"
        )
    report.read_as = guess.encoding
    return guess.encoding


def _settle(block: bytes, stream: BinaryIO, report: FileReport) -> tuple[bytes, str]:
    """Return what to decode next, at least the first block with bytes beyond ASCII, and its encoding.

    Raises CorpusError if it is not UTF-8 and no other encoding is certain.
    """
    counts = _count_utf8(block)
    _state.latin = counts.latin
    if not counts.invalid:
        return block, "utf-8"
    while counts.valid < counts.invalid < _ENOUGH_INVALID and len(block) < _MOST_AHEAD:
        more = stream.read(_BLOCK)
        if not more:
            break
        block += more
        counts = _count_utf8(block)
    _state.latin = counts.latin
    if counts.valid >= counts.invalid:
        return block, "utf-8"
    guess = guess_encoding(block)
    if guess is not None and guess.sure:
        report.read_as = guess.encoding
        return block, guess.encoding
    if counts.invalid <= _STRAY and counts.invalid <= _STRAY_SHARE * len(block):
        return block, "utf-8"
    looks = f"; it may be {guess.encoding}" if guess is not None else ""
    raise CorpusError(
        f"is not UTF-8 text ({counts.invalid:,} of its {counts.invalid + counts.valid:,} characters beyond ASCII are "
        f"invalid), and its encoding is not certain{looks}; set corpus.encoding to its encoding "
        f"({guess.encoding if guess is not None else 'gbk, utf-16, latin-1, ...'}), or leave it out"
    )


def _alphabet(block: bytes, said: str, report: FileReport) -> str:
    """Return the encoding of a page that declares a Western one, as templates do, and is in another alphabet."""
    if web_encoding(said) != "windows-1252":
        return said
    text = _TAGS.sub(b" ", block)
    if len(_HIGH.findall(text)) <= len(_LETTERS.findall(text)):
        return said
    guess = guess_encoding(text)
    if guess is None or not guess.sure:
        return said
    report.read_as = f"{guess.encoding}, which it plainly is, not {said}"
    return guess.encoding


class _Utf8Counts(NamedTuple):
    """Characters beyond ASCII, and sequences that are no character. latin: whether most characters are of Europe."""

    valid: int
    invalid: int
    latin: bool


def _count_utf8(block: bytes) -> _Utf8Counts:
    _state.replaced = _state.islands = 0
    _state.latin = False
    text = codecs.getincrementaldecoder("utf-8")(_UTF8_HANDLER).decode(block)
    if not _state.replaced and text.isascii():
        return _Utf8Counts(0, 0, True)
    beyond = _ASCII.sub("", text)
    invalid = beyond.count("\ufffd")
    valid = beyond.replace("\ufffd", "")
    latin = len(_NOT_LATIN.sub("", valid))
    return _Utf8Counts(len(valid), invalid, bool(valid) and latin >= _LATIN_SHARE * len(valid))


def _is_utf8(block: bytes) -> bool:
    counts = _count_utf8(block)
    return counts.invalid == 0 and counts.valid >= _CERTAIN


_TAGS = re.compile(rb"<(script|style)\b.*?(?:</\1|\Z)|<[^>]*>", re.DOTALL | re.IGNORECASE)
_HIGH = re.compile(rb"[\x80-\xff]")
_LETTERS = re.compile(rb"[A-Za-z]")
_ASCII = re.compile(r"[\x00-\x7f]+")
_NOT_LATIN = re.compile(r"[^\x80-\u024f\u1e00-\u1eff\u2000-\u20cf\u2100-\u214f]+")


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


# codecs looks up error handlers by name only, so the counts of the current call are kept in thread-local variables.
# latin: whether the characters beyond ASCII are mostly of European languages.
class _State(threading.local):
    replaced = 0
    islands = 0
    latin = False


_HANDLER = "maskling.replace-and-count"
_UTF8_HANDLER = "maskling.replace-and-count-utf8"
_state = _State()
# First bytes of the sequences of most European letters and quotation marks: alone, they are the rest of one.
_CUT = b"\xc2\xc3\xc4\xc5\xe2"
_UNASSIGNED = b"\x81\x8d\x8f\x90\x9d"


def _replace_and_count(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    _state.replaced += error.end - error.start
    return "\ufffd", error.end


def _replace_and_count_utf8(error: UnicodeError) -> tuple[str | bytes, int]:
    """Read what other programs write into UTF-8: surrogates one by one, zeros as two bytes, bytes of windows-1252.

    A single byte between ASCII characters is such a byte in text of European languages only: elsewhere it is what is
    left of a longer sequence.
    """
    if not isinstance(error, UnicodeDecodeError):
        raise error
    data, start = error.object, error.start
    if data[start] == 0xED:
        pair = data[start : start + 6].decode("utf-8", "surrogatepass") if _PAIR.match(data, start) else ""
        if pair:
            return pair.encode("utf-16", "surrogatepass").decode("utf-16"), start + 6
    if data[start : start + 2] == b"\xc0\x80":
        return "\0", start + 2
    alone = start > 0 and data[start - 1] < 0x80 and start + 1 < len(data) and data[start + 1] < 0x80
    if _state.latin and alone and data[start] not in _CUT and data[start] not in _UNASSIGNED:
        _state.islands += 1
        return data[start : start + 1].decode("cp1252"), start + 1
    return _replace_and_count(error)


_PAIR = re.compile(rb"\xed[\xa0-\xaf][\x80-\xbf]\xed[\xb0-\xbf][\x80-\xbf]")
codecs.register_error(_HANDLER, _replace_and_count)
codecs.register_error(_UTF8_HANDLER, _replace_and_count_utf8)


def _count_lines(data: bytes, encoding: str) -> int:
    text = data.decode(encoding if "16" in encoding or "32" in encoding else "latin-1", "replace")
    return text.count("\n") + text.count("\r") - text.count("\r\n")
