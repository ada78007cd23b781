"""Texts of a verb, from its arguments, a file or standard input: `read_texts` is the one way in which verbs read them.

A plain file has one text per line. The other formats are read by the readers of `maskling prepare`: a text per record
of JSON Lines, CSV, TSV, Parquet and Arrow, from one field; a text per document of the rest. Files may be compressed.
"""

from __future__ import annotations

import codecs
import shutil
import sys
import tempfile
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal, TypeAlias, cast

from maskling.cli.options import Pairs, setting_layers
from maskling.errors import CorpusError, SettingsError

if TYPE_CHECKING:
    from maskling.corpus.document import Document
    from maskling.corpus.settings import CorpusSettings

FILE_HELP = (
    "read texts from this file: one per line, or per record of .jsonl, .csv, .tsv, .parquet, also compressed; - is "
    "standard input"
)
TEXT_FIELD_HELP = "with --file: field or column with the text; default: text"
# More of standard input than this is copied to a temporary file.
_SPOOL_BYTES = 64 << 20
_STDIN = "standard input"


@dataclass(frozen=True)
class Texts:
    """The texts of a verb: its arguments, or those of a file or of standard input; see `read_texts`.

    Every iteration reads a file again, so that only one text is in memory. empty_lines: number of lines or records
    without text, which are skipped. places: where each text is, for messages; None for arguments.
    """

    count: int
    empty_lines: int
    read: Callable[[], Iterator[str]]
    places: Callable[[], Iterator[str]] | None = None

    def where(self, index: int) -> str:
        """Return where a text is, for messages: 'a.txt, line 7'."""
        if self.places is None:
            return f"text {index + 1:,}"
        return next(islice(self.places(), index, None), f"text {index + 1:,}")

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[str]:
        return self.read()


def read_texts(
    arguments: Sequence[str], file: Path | None, settings: Pairs = (), text_field: str | None = None
) -> Texts:
    """Return the texts that a verb was given: its arguments, or those of a file or of standard input.

    The argument '-' alone, the file '-', and no argument and no file all mean standard input, in which JSON Lines are
    recognized. A file is read once here to count its texts, so that an error in it comes before any work.
    settings: --corpus.key value; text_field: the field with the text, over that of the settings.
    Raises SettingsError if there is no text, if both are given, or if the only argument is the name of a file;
    CorpusError for a file that is missing, has no text, is not UTF-8, or has a record that cannot be read.
    """
    if arguments and file is not None:
        raise SettingsError("give texts as arguments or with --file, not both")
    if tuple(arguments) == ("-",):
        arguments, file = (), Path("-")
    if len(arguments) == 1 and is_file(arguments[0]):
        raise SettingsError(f"{arguments[0]} is a file; to read it give --file {arguments[0]}")
    if arguments:
        if settings or text_field is not None:
            given = "--text-field" if text_field is not None else f"--{settings[0][0]}"
            raise SettingsError(
                f"{given} sets how a file is read, and there is none; give --file FILE instead of texts"
            )
        return Texts(len(arguments), 0, lambda: iter(arguments))
    if file is None and (sys.stdin is None or sys.stdin.isatty()):
        raise SettingsError("there is no text: give it in quotes, or with --file FILE (- is standard input)")
    reading = file_reading(settings, text_field)
    if file is not None and str(file) != "-":
        return _texts_of(str(file), _open_file(file), reading)
    if sys.stdin is None:
        raise SettingsError("standard input is closed; give a text in quotes, or a file with --file")
    if text_field is not None and reading.format == "auto":
        reading = reading.model_copy(update={"format": "jsonl"})
    return _texts_of(_STDIN, _spool(sys.stdin.buffer), reading)


def read_one_text(argument: str) -> str:
    """Return the text of a verb that takes only one: its argument, or the line of standard input for '-'.

    Raises SettingsError if the argument is the name of a file, or standard input has more than one line of text.
    """
    if is_file(argument):
        raise SettingsError(f"{argument} is a file; give its text in quotes, or - to read standard input")
    if argument != "-":
        return argument
    texts = read_texts((argument,), None)
    if len(texts) > 1:
        raise SettingsError(f"standard input has {len(texts):,} lines of text; this verb takes one text")
    return next(iter(texts))


def is_file(text: str) -> bool:
    """Return whether an argument names a file that exists."""
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # not a possible file name
        return False


def is_text(argument: str) -> bool:
    """Return whether an argument of a verb that takes files is certainly a text: words that name no file."""
    from maskling.corpus.document import Source
    from maskling.corpus.formats import SUFFIXES

    try:
        exists = Path(argument).exists()
    except (OSError, ValueError):
        exists = False
    named = "://" in argument or any(sign in argument for sign in "*[") or Source(argument.strip()).suffix in SUFFIXES
    return not exists and not named and len(argument.split()) > 1


Opener: TypeAlias = Callable[[], AbstractContextManager[BinaryIO]]


def file_reading(settings: Pairs, text_field: str | None, bad: Literal["skip", "stop"] = "stop") -> CorpusSettings:
    """Return how files of texts are read, a text per line of plain text.

    bad: whether what cannot be read is an error: where results have the numbers of the texts, a record that was left
    out would shift them. settings: --corpus.key value; text_field: the field with the text, over that of the settings.
    """
    from maskling.config import Layer, Settings, resolve
    from maskling.corpus.settings import CorpusSettings

    class TextSettings(Settings):
        corpus: CorpusSettings = CorpusSettings()

    strict = {"on_bad_file": "stop", "errors": "strict"} if bad == "stop" else {}
    usual = Layer("default", {"corpus": {"plain": "line", **strict}})
    return resolve(
        TextSettings, [usual, *setting_layers(None, settings, corpus__text_field=text_field)]
    ).settings.corpus


def _open_file(file: Path) -> Opener:
    if file.is_file():
        return lambda: file.open("rb")
    if file.is_dir():
        raise CorpusError(f"{file} is a folder; give a file with one text per line")
    if not file.exists():
        raise CorpusError(f"{file}: there is no such file")
    with file.open("rb") as pipe:
        if file.is_char_device() and not pipe.isatty():
            raise CorpusError(f"{file} is a device, which has no end; give a file with one text per line")
        return _spool(pipe)


def _spool(stream: BinaryIO) -> Opener:
    """Copy a stream that can be read only once, in memory or to a temporary file if it is large."""
    copy = tempfile.SpooledTemporaryFile(_SPOOL_BYTES)  # noqa: SIM115
    shutil.copyfileobj(stream, copy)

    @contextmanager
    def rewound() -> Iterator[BinaryIO]:
        copy.seek(0)
        yield cast(BinaryIO, copy)

    weakref.finalize(rewound, copy.close)
    return rewound


def _texts_of(name: str, opened: Opener, reading: CorpusSettings) -> Texts:
    """Return the texts of a file, by its suffix or its first bytes."""
    from maskling.corpus.document import Source
    from maskling.corpus.formats import find_reader
    from maskling.corpus.opening import READ_ERRORS, open_bytes
    from maskling.corpus.readers import READERS

    with opened() as stream:
        try:
            reader = find_reader(Source(name, opened=stream), reading)
        except CorpusError as error:
            raise CorpusError(f"{name} {error}" if str(error).startswith("is ") else f"{name}: {error}") from None
    if reader is not READERS["plain"].read or reading.plain != "line" or reading.encoding != "auto":
        return _record_texts(name, opened, reading)

    @contextmanager
    def unpacked() -> Iterator[BinaryIO]:
        with opened() as stream, open_bytes(Source(name, opened=stream)) as text:
            try:
                yield text
            except CorpusError:
                raise
            except READ_ERRORS as error:
                raise CorpusError(f"{name} is damaged: {error or type(error).__name__}") from None

    return _line_texts(name, unpacked)


def _line_texts(name: str, opened: Opener) -> Texts:
    count = empty = 0
    for line in _lines(name, opened):
        if line.strip():
            count += 1
        else:
            empty += 1
    if not count:
        raise CorpusError(f"{name} has no text; put one on each line")

    def read() -> Iterator[str]:
        return _as_many(name, count, (text for line in _lines(name, opened) if (text := line.strip())))

    def places() -> Iterator[str]:
        return (f"{name}, line {number:,}" for number, line in enumerate(_lines(name, opened), 1) if line.strip())

    return Texts(count, empty, read, places)


def _lines(name: str, opened: Opener) -> Iterator[str]:
    """Yield the lines of a file. Raises CorpusError with the line for text that is not UTF-8."""
    begin = 0
    with opened() as stream:
        for number, raw in enumerate(stream, 1):
            try:
                yield raw.removeprefix(codecs.BOM_UTF8).decode() if number == 1 else raw.decode()
            except UnicodeDecodeError as error:
                raise CorpusError(
                    f"{name}, line {number:,} is not UTF-8 (byte {begin + error.start:,}); convert it first"
                ) from None
            begin += len(raw)


def _record_texts(name: str, opened: Opener, reading: CorpusSettings) -> Texts:
    count = empty = 0
    for document in _documents(name, opened, reading):
        count, empty = (count + 1, empty) if document.text.strip() else (count, empty + 1)
    if not count:
        raise CorpusError(f"{name} has no text")

    def found() -> Iterator[Document]:
        return (document for document in _documents(name, opened, reading) if document.text.strip())

    def read() -> Iterator[str]:
        return _as_many(name, count, (document.text.strip() for document in found()))

    def places() -> Iterator[str]:
        return (document.id for document in found())

    return Texts(count, empty, read, places)


def _documents(name: str, opened: Opener, reading: CorpusSettings) -> Iterator[Document]:
    from maskling.corpus.document import Source
    from maskling.corpus.opening import ReadReport
    from maskling.corpus.reading import read_documents

    with opened() as stream:
        # A file on disk is opened again by its name, for formats that are read in any order.
        source = Source(name) if name != _STDIN and Path(name).is_file() else Source(name, opened=stream)
        yield from (document for _, document in read_documents([source], reading, ReadReport()))


def _as_many(name: str, count: int, texts: Iterator[str]) -> Iterator[str]:
    """Yield `count` texts: those appended since they were counted are left out. Raises CorpusError for fewer."""
    done = 0
    for text in islice(texts, count):
        yield text
        done += 1
    if done < count:
        raise CorpusError(f"{name} became shorter while it was read; run the command again")
