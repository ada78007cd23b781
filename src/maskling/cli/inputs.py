"""What a command reads and where it may write: mistakes are said before the work, not after it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from maskling.cli.options import Pairs, layers
from maskling.errors import CorpusError, SettingsError
from maskling.files import ASIDE

if TYPE_CHECKING:
    from maskling.console import Console
    from maskling.corpus.opening import ReadReport
    from maskling.corpus.settings import CorpusSettings
    from maskling.data.labelled.columns import Columns

# FOLDED DOCS
# [reading] How a verb reads text that was never prepared, and labelled files: the settings that say so.
# [texts] Texts for a command: from its arguments, a file, or standard input; one a line.


SOURCES = "files, folders, globs, URLs, - for standard input, python-docs:, hf:NAME[:CONFIG[:SPLIT]]"


def check_sources(sources: Sequence[str]) -> None:
    """Raise SettingsError for a source without a name, which is what "$UNSET" gives."""
    if not all(map(str.strip, sources)):
        raise SettingsError("one of the sources has an empty name; leave it out, or say which file is meant")


def check_out_folder(out: Path) -> None:
    """Raise SettingsError if `out` is a file or lies under one."""
    if out.exists() and not out.is_dir():
        raise SettingsError(f"{out} is a file; give a folder with --out")
    _check_above(out)


def check_out_file(out: Path, read: Iterable[str | Path] = ()) -> None:
    """Raise SettingsError if `out` is a folder, lies under a file, or is one of the files that are read."""
    if out.is_dir():
        raise SettingsError(f"{out} is a folder; give the name of a file in it")
    if str(out) == "-":
        raise SettingsError("- is no file to write to; without --out the answer is on standard output")
    if out.exists() and any(Path(one).exists() and out.samefile(one) for one in read):
        raise SettingsError(f"{out} is what is read, and would be lost; give another file with --out")
    _check_above(out)


def visible(folder: Path) -> list[str]:
    """The names in a folder, without hidden ones and what a stopped write has left; none if it is not there."""
    if not folder.is_dir():
        return []
    names = sorted(path.name for path in folder.iterdir())
    return [name for name in names if not name.startswith(".") and not name.endswith(ASIDE)]


def _check_above(out: Path) -> None:
    for above in out.parents:
        if above.exists():
            if not above.is_dir():
                raise SettingsError(f"{above} is a file, so {out} cannot be made; give another place")
            return


def followed(console: Console) -> ReadReport:
    """A report of a reading that shows how far it is."""
    from maskling.corpus.opening import ReadReport

    return ReadReport(told=lambda report: console.progress("reading", report.read_bytes, report.total_bytes))


def read_as(settings: Pairs, sources: Sequence[str] | None, option: str, config: Path | None = None) -> CorpusSettings:
    """How to read `sources`, by `--corpus.key value` and a settings file.

    option: how text is given to this verb. Raises SettingsError for settings where there is no text.
    """
    from maskling.config import Settings, resolve
    from maskling.corpus.settings import CorpusSettings

    class TextSettings(Settings):
        corpus: CorpusSettings = CorpusSettings()

    if settings and not sources:
        raise SettingsError(f"--{settings[0][0]} says how text is read, and there is none; give {option}")
    return resolve(TextSettings, layers(config, settings)).settings.corpus


def columns_in(settings: Pairs) -> Columns:
    """Which columns of labelled files hold what, by `--columns.key value`."""
    from maskling.config import Settings, resolve
    from maskling.data.labelled.columns import Columns

    class FileSettings(Settings):
        columns: Columns = Columns()

    return resolve(FileSettings, layers(None, settings)).settings.columns


@dataclass(frozen=True)
class Texts:
    """What a person gave. empty_lines: of a file, which are no texts and were passed over."""

    lines: list[str]
    empty_lines: int = 0

    @staticmethod
    def of(arguments: tuple[str, ...], file: Path | None) -> Texts:
        """The arguments, or the lines of a file or of standard input, which an argument '-' alone means too.

        Raises SettingsError when there is none, both are given, or the only argument is the name of a file; CorpusError
        when the file cannot be read.
        """
        if arguments and file is not None:
            raise SettingsError("give texts as arguments or with --file, not both")
        if arguments == ("-",):
            arguments, file = (), Path("-")
        if len(arguments) == 1 and _is_file(arguments[0]):
            raise SettingsError(f"{arguments[0]} is a file; to read it give --file {arguments[0]}")
        if arguments:
            return Texts(list(arguments))
        if file is None and (sys.stdin is None or sys.stdin.isatty()):
            raise SettingsError("there is no text: give it in quotes, or with --file FILE (- is standard input)")
        name, raw = _read(file)
        try:
            lines = raw.decode("utf-8-sig").split("\n")
        except UnicodeDecodeError as error:
            raise CorpusError(f"{name} is not UTF-8 (byte {error.start:,}); convert it first") from None
        lines = lines[:-1] if lines[-1] == "" else lines
        texts = [line.strip() for line in lines if line.strip()]
        if not texts:
            raise CorpusError(f"{name} has no text; put one on each line")
        return Texts(texts, len(lines) - len(texts))


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # no name that a file could have
        return False


def _read(file: Path | None) -> tuple[str, bytes]:
    if file is None or str(file) == "-":
        if sys.stdin is None:
            raise SettingsError("standard input is closed; give a text in quotes, or a file with --file")
        return "standard input", sys.stdin.buffer.read()
    try:
        return str(file), file.read_bytes()
    except FileNotFoundError:
        raise CorpusError(f"{file}: there is no such file") from None
    except IsADirectoryError:
        raise CorpusError(f"{file} is a folder; give a file with one text a line") from None
