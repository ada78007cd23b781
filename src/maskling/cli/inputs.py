"""Inputs of the verbs: sources and output paths are checked before the work, and texts are read.

`read_texts` is the one way in which verbs read texts from arguments, a file or standard input, one per line. Sources
that were never prepared, and labelled files, are read with the settings of `corpus_settings` and `column_settings`.
"""

from __future__ import annotations

import codecs
import shutil
import sys
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, TypeAlias, cast

from cyclopts import Parameter

from maskling.cli.options import Pairs, setting_layers
from maskling.errors import CorpusError, SettingsError
from maskling.files import ASIDE, url_refusal

if TYPE_CHECKING:
    from maskling.console import Console
    from maskling.corpus.opening import ReadReport
    from maskling.corpus.settings import CorpusSettings
    from maskling.data.labelled.columns import Columns


BaseModelFolder = Annotated[
    Path | None,
    Parameter(help="base model of a PEFT adapter; default: the one that the adapter names", metavar="FOLDER"),
]
SOURCES = "files, folders, globs, URLs, - for standard input, python-docs:, hf:NAME[:CONFIG[:SPLIT]]"
# More of standard input than this is copied to a temporary file.
_SPOOL_BYTES = 64 << 20


def check_sources(sources: Sequence[str]) -> None:
    """Raise SettingsError for a source with an empty name, such as an unset shell variable in quotes."""
    if not all(map(str.strip, sources)):
        raise SettingsError("one of the sources has an empty name; leave it out, or name a file")


def check_out_folder(out: Path) -> None:
    """Raise SettingsError if `out` is a URL, a file, or inside one."""
    _check_local(out)
    if out.exists() and not out.is_dir():
        raise SettingsError(f"{out} is a file; give a folder with --out")
    _check_above(out)


def check_out_file(out: Path, read: Iterable[str | Path] = ()) -> None:
    """Raise SettingsError if `out` is a URL, a folder, inside a file, or one of the files that are read."""
    _check_local(out)
    if out.is_dir():
        raise SettingsError(f"{out} is a folder; give the name of a file in it")
    if str(out) == "-":
        raise SettingsError("- is not a file to write to; without --out the result goes to standard output")
    if out.exists() and any(Path(one).exists() and out.samefile(one) for one in read):
        raise SettingsError(f"{out} is also an input and would be lost; give another file with --out")
    _check_above(out)


def visible_names(folder: Path) -> list[str]:
    """Return the names in a folder, without hidden files and the rest of a stopped write; empty if it is missing."""
    if not folder.is_dir():
        return []
    names = sorted(path.name for path in folder.iterdir())
    return [name for name in names if not name.startswith(".") and not name.endswith(ASIDE)]


def _check_local(out: Path) -> None:
    if (refusal := url_refusal(out)) is not None:
        raise SettingsError(refusal)


def _check_above(out: Path) -> None:
    for above in out.parents:
        if above.exists():
            if not above.is_dir():
                raise SettingsError(f"{above} is a file, so {out} cannot be created; give another path")
            return


def reading_report(console: Console) -> ReadReport:
    """Return a report of the files that are read, which shows the progress on the console."""
    from maskling.corpus.opening import ReadReport

    return ReadReport(on_progress=lambda report: console.progress("reading", report.read_bytes, report.total_bytes))


def corpus_settings(
    settings: Pairs, sources: Sequence[str] | None, option: str, config: Path | None = None
) -> CorpusSettings:
    """Return how to read `sources`, from `--corpus.key value` and a settings file.

    option: how text is given to this verb. Raises SettingsError for such settings without a text.
    """
    from maskling.config import Settings, resolve
    from maskling.corpus.settings import CorpusSettings

    class TextSettings(Settings):
        corpus: CorpusSettings = CorpusSettings()

    if settings and not sources:
        raise SettingsError(f"--{settings[0][0]} sets how text is read, and there is none; give {option}")
    return resolve(TextSettings, setting_layers(config, settings)).settings.corpus


def column_settings(settings: Pairs) -> Columns:
    """Return the columns of labelled files, from `--columns.key value`."""
    from maskling.config import Settings, resolve
    from maskling.data.labelled.columns import Columns

    class FileSettings(Settings):
        columns: Columns = Columns()

    return resolve(FileSettings, setting_layers(None, settings)).settings.columns


@dataclass(frozen=True)
class Texts:
    """The texts of a verb: its arguments, or the lines of a file or of standard input; see `read_texts`.

    Every iteration reads a file again, so that only one line is in memory. empty_lines: number of lines without text,
    which are skipped. name: of the file; None for arguments.
    """

    count: int
    empty_lines: int
    read: Callable[[], Iterator[str]]
    name: str | None = None
    lines: Callable[[], Iterator[str]] | None = None

    def where(self, index: int) -> str:
        """Return where a text is, for messages: 'a.txt, line 7'."""
        if self.lines is None:
            return f"text {index + 1:,}"
        numbers = (number for number, line in enumerate(self.lines(), 1) if line.strip())
        return f"{self.name}, line {next(islice(numbers, index, None), 0):,}"

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[str]:
        return self.read()


def read_texts(arguments: Sequence[str], file: Path | None) -> Texts:
    """Return the texts that a verb was given: its arguments, or the lines of a file or of standard input.

    The argument '-' alone, the file '-', and no argument and no file all mean standard input. The file is read once
    here to count its texts, so that an error in it comes before any work.
    Raises SettingsError if there is no text, if both are given, or if the only argument is the name of a file;
    CorpusError for a file that is missing, has no text or is not UTF-8.
    """
    if arguments and file is not None:
        raise SettingsError("give texts as arguments or with --file, not both")
    if tuple(arguments) == ("-",):
        arguments, file = (), Path("-")
    if len(arguments) == 1 and _is_file(arguments[0]):
        raise SettingsError(f"{arguments[0]} is a file; to read it give --file {arguments[0]}")
    if arguments:
        return Texts(len(arguments), 0, lambda: iter(arguments))
    if file is None and (sys.stdin is None or sys.stdin.isatty()):
        raise SettingsError("there is no text: give it in quotes, or with --file FILE (- is standard input)")
    if file is not None and str(file) != "-":
        return _texts_of(str(file), _open_file(file))
    if sys.stdin is None:
        raise SettingsError("standard input is closed; give a text in quotes, or a file with --file")
    return _texts_of("standard input", _spool(sys.stdin.buffer))


def read_one_text(argument: str) -> str:
    """Return the text of a verb that takes only one: its argument, or the line of standard input for '-'.

    Raises SettingsError if the argument is the name of a file, or standard input has more than one line of text.
    """
    if _is_file(argument):
        raise SettingsError(f"{argument} is a file; give its text in quotes, or - to read standard input")
    if argument != "-":
        return argument
    texts = read_texts((argument,), None)
    if len(texts) > 1:
        raise SettingsError(f"standard input has {len(texts):,} lines of text; this verb takes one text")
    return next(iter(texts))


Opener: TypeAlias = Callable[[], AbstractContextManager[BinaryIO]]


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # not a possible file name
        return False


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


def _texts_of(name: str, opened: Opener) -> Texts:
    count = empty = 0
    for line in _lines(name, opened):
        if line.strip():
            count += 1
        else:
            empty += 1
    if not count:
        raise CorpusError(f"{name} has no text; put one on each line")

    def read() -> Iterator[str]:
        texts = (text for line in _lines(name, opened) if (text := line.strip()))
        done = 0
        for text in islice(texts, count):  # lines appended since they were counted are left out
            yield text
            done += 1
        if done < count:
            raise CorpusError(f"{name} became shorter while it was read; run the command again")

    return Texts(count, empty, read, name, lambda: _lines(name, opened))


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
