"""Texts for a command: from its arguments, a file, or standard input; one a line."""

from __future__ import annotations

import sys
from pathlib import Path

from maskling.errors import CorpusError, SettingsError


def texts_from(arguments: tuple[str, ...], file: Path | None) -> list[str]:
    """The texts a person gave; empty lines of a file are passed over.

    Raises SettingsError when there is none or both are given, CorpusError when the file cannot be read.
    """
    if arguments and file is not None:
        raise SettingsError("give texts as arguments or with --file, not both")
    if arguments:
        return list(arguments)
    if file is None and sys.stdin.isatty():
        raise SettingsError("there is no text: give it in quotes, or with --file FILE (- is standard input)")
    try:
        raw = sys.stdin.buffer.read() if file is None or str(file) == "-" else file.read_bytes()
        lines = raw.decode("utf-8-sig").split("\n")
    except FileNotFoundError:
        raise CorpusError(f"{file}: there is no such file") from None
    except UnicodeDecodeError as error:
        raise CorpusError(f"{file or 'standard input'} is not UTF-8 (byte {error.start}); convert it first") from None
    texts = [line.strip() for line in lines if line.strip()]
    if not texts:
        raise CorpusError(f"{file or 'standard input'} has no text")
    return texts
