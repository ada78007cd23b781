"""Texts for a command: from its arguments, a file, or standard input; one a line."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from maskling.errors import CorpusError, SettingsError


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
