"""The lines of a labelled file, wherever it is and however it is compressed; every fault names the file."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from maskling.corpus.decoding import decode, split_into_lines
from maskling.corpus.document import Source
from maskling.corpus.opening import READ_ERRORS, open_bytes
from maskling.corpus.report import FileReport
from maskling.corpus.settings import CorpusSettings
from maskling.errors import CorpusError, DataError

# A line longer than this is no line; the field limit of the csv module is set to the same.
LONGEST_LINE = 1 << 28


@dataclass
class Reading:
    """A file that is being read.

    path: as the person named it, '-' for standard input. skip: leave bad rows out, and say so in `warnings`.
    header_line: of a table that has a header. repeated: names that several columns of a table have.
    """

    path: str
    skip: bool = False
    warnings: list[str] = field(default_factory=list)
    bad_rows: int = 0
    first_fault: str = ""
    header_line: int | None = None
    repeated: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if Path(self.path).is_dir():
            raise DataError(f"{self.path} is a folder; name the file in it")

    @property
    def source(self) -> Source:
        """What the corpus readers open."""
        return Source(self.path)

    @property
    def name(self) -> str:
        """What records are named after."""
        return "stdin" if self.path == "-" else self.source.name

    def names_at(self, number: int) -> str:
        """Where the names of columns stand that the row of line `number` goes by."""
        return f"{self.path}:{self.header_line or number}"

    def fault(self, number: int | str, message: str) -> None:
        """Raise DataError for a bad row, or count it where bad rows are to be skipped."""
        said = f"{self.path}:{number} {message}"
        if not self.skip:
            raise DataError(f"{said}; mend it, or leave such rows out with columns.on_bad_row skip")
        self.bad_rows += 1
        self.first_fault = self.first_fault or said

    def finish(self, records: int, what: str) -> None:
        """Say what was skipped. Raises DataError if there are no records."""
        if not records and self.bad_rows:
            raise DataError(f"{self.path}: none of its {self.bad_rows:,} rows could be read: {self.first_fault}")
        if not records:
            raise DataError(f"{self.path} has no {what} in it; give a file that has some")
        if self.bad_rows:
            self.warnings.append(f"{self.bad_rows:,} rows left out, the first because {self.first_fault}")


def lines(reading: Reading) -> Iterator[tuple[int, str]]:
    """The lines of a file with their numbers from 1, without line ends. Raises DataError if it cannot be read."""
    report = FileReport(reading.path)
    with _faults(reading.path), open_bytes(reading.source) as stream:
        for number, line in enumerate(split_into_lines(decode(stream, CorpusSettings(), report), LONGEST_LINE), 1):
            yield number, line.removesuffix("\n")
    if report.replaced_bytes:
        reading.warnings.append(f"{reading.path}: {report.replaced_bytes:,} bytes were no UTF-8 and were replaced")


def whole(reading: Reading) -> str:
    """All of a file. Raises DataError if it cannot be read."""
    return "\n".join(line for _, line in lines(reading))


def parse_json(text: str) -> Any:
    """JSON, NaN and halves of surrogate pairs included, which Python and JavaScript write. Raises ValueError."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


@contextlib.contextmanager
def _faults(path: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file") from None
    except CorpusError as error:
        # What corpus settings could mend, only another encoding of the file can mend here.
        reason = str(error)
        what = f"{reason.partition(';')[0]}; save it as UTF-8 text" if "corpus." in reason else reason
        raise DataError(f"{path} {what}") from None
    except READ_ERRORS as error:
        reason = f"cannot be read: {error.strerror}" if isinstance(error, OSError) and error.strerror else "is damaged"
        raise DataError(f"{path} {reason}") from None
