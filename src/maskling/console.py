"""Console output, the only module that prints: results on stdout, all else on stderr, from rank 0 only.

On a terminal, progress is a bar redrawn in place, and errors, warnings and bars have colours unless NO_COLOR is set. In
a log file a bar would be noise, so the same report is one plain line every few seconds.
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import re
import shutil
import sys
import time
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, Literal, TextIO, TypeAlias

# Names and texts come from files; a newline or an escape code in one must not overwrite the screen.
_CONTROLS = {code: repr(chr(code))[1:-1] for code in (*range(32), *range(127, 160)) if chr(code) != "\t"}
_ERASE = "\r\x1b[K"
_BAR = 24
_BLOCKS, _PLAIN_BLOCKS = "━─", "#-"
_REDRAW_SECONDS = 0.1
_RED, _YELLOW, _GREEN, _CYAN, _NO_COLOUR = "\x1b[1;31m", "\x1b[33m", "\x1b[32m", "\x1b[36m", "\x1b[0m"

Verbosity: TypeAlias = Literal["quiet", "normal", "verbose"]


def counted(count: int, what: str) -> str:
    """Return '1 document', '2 documents'."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


_SINGULAR = {"have": "has", "are": "is", "were": "was", "repeat": "repeats", "occur": "occurs"}
# Only after the noun, because they are nouns too.
_SINGULAR_FIRST = {"end": "ends", "hold": "holds", "overlap": "overlaps"}


def agreeing(count: int, phrase: str) -> str:
    """Return '2 lines are left out' for 2 and 'lines are left out', and '1 line is left out' for 1."""
    if count != 1:
        return f"{count:,} {phrase}"
    noun, space, rest = phrase.partition(" ")
    first, gap, others = rest.partition(" ")
    verbs = re.compile(rf"\b({'|'.join(_SINGULAR)})\b")
    rest = verbs.sub(lambda found: _SINGULAR[found[0]], f"{_SINGULAR_FIRST.get(first, first)}{gap}{others}")
    return f"1 {noun.removesuffix('s')}{space}{rest}"


@contextlib.contextmanager
def with_verbosity(verbosity: Verbosity) -> Iterator[None]:
    """Set the verbosity of every console within the block."""
    before, Console.verbosity = Console.verbosity, verbosity
    try:
        yield
    finally:
        Console.verbosity = before


class Console:
    """Output of one command. With `as_json`, stdout carries JSON and nothing else.

    verbosity: of the process. 'quiet' leaves out notes and progress; 'verbose' adds what `detail` and `trace` print.
    """

    verbosity: ClassVar[Verbosity] = "normal"

    def __init__(
        self,
        as_json: bool = False,
        every_seconds: float = 5.0,
        out: TextIO | None = None,
        err: TextIO | None = None,
    ) -> None:
        self.as_json = as_json
        self._every_seconds = every_seconds
        # A stream that the shell has closed (>&-) is None.
        self._out, self._err = out or sys.stdout, err or sys.stderr
        self._is_main = os.environ.get("RANK", "0") == "0"
        self._terminal = (
            self._err is not None and self._err.isatty() and os.environ.get("TERM", "dumb") not in ("", "dumb")
        )
        self._colours = self._terminal and not os.environ.get("NO_COLOR")
        self._last = float("-inf")
        self._bar = ""

    def result(self, text: str = "") -> None:
        """Print a line of the result for a person; nothing with `as_json`."""
        if self._is_main and not self.as_json:
            self.clear()
            self._print(printable(text), self._out)

    def data(self, value: Any) -> None:
        """Print the result for a program: one line of JSON, only with `as_json`. NaN and infinity become null."""
        if self._is_main and self.as_json:
            self.clear()
            self._print(json.dumps(_finite(value), ensure_ascii=False, allow_nan=False), self._out)

    def note(self, text: str, good: str = "") -> None:
        """Print a line about the work on stderr. good: a part of it that is good news, which has a colour."""
        if self._is_main and self.verbosity != "quiet":
            self._say(text, good, _GREEN)

    def detail(self, text: str) -> None:
        """Print a line about the work on stderr, only with --verbose."""
        if self.verbosity == "verbose":
            self.note(text)

    def trace(self, text: str) -> None:
        """Print the traceback of an error on stderr, only with --verbose."""
        if self.verbosity == "verbose":
            for line in text.rstrip().splitlines():
                self.note(line)

    def warn(self, text: str) -> None:
        """Print a warning on stderr."""
        if self._is_main:
            self._say(f"warning: {text}", "warning:", _YELLOW)

    def _say(self, text: str, part: str, colour: str) -> None:
        bar = self._bar
        self.clear()
        self._print(self._coloured(printable(text), part, colour), self._err)
        self._show(bar)

    def _coloured(self, line: str, part: str, colour: str) -> str:
        return line.replace(part, f"{colour}{part}{_NO_COLOUR}", 1) if self._colours and part else line

    def warn_each(self, problems: Iterable[str]) -> None:
        """Print a warning per problem with the files that were read."""
        for problem in problems:
            self.warn(problem)

    def error(self, *lines: str) -> None:
        """Print why the command failed; further lines are indented."""
        if self._is_main:
            if self._terminal:
                self._write(_ERASE)  # erase the bar that the failed verb may have drawn
            for line in lines[:1]:
                self._print(self._coloured(f"error: {printable(line)}", "error:", _RED), self._err)
            for line in lines[1:]:
                self._print(f"       {printable(line)}", self._err)

    def stopped(self, text: str = "") -> None:
        """Print that the command was stopped."""
        if self._is_main:
            if self._terminal:
                self._write(_ERASE)  # erase the bar, and the ^C that the terminal has printed after it
            self._print(f"stopped{text}", self._err)

    def progress(self, text: str, done: float, total: float | None, last: bool = False, share: bool = True) -> None:
        """Show progress: a bar on a terminal; elsewhere a line, at most one every few seconds (and the last).

        text: fields separated by three spaces; a narrow terminal drops those before the last first.
        share: start the line of a log with the finished share in percent.
        """
        if not self._is_main or self.verbosity == "quiet":
            return
        now = time.monotonic()
        if self._terminal:
            if now - self._last >= _REDRAW_SECONDS or last:
                self._show_bar(text, min(1.0, done / total) if total else None)
        elif last or now - self._last >= self._every_seconds:
            self._last = now
            self.note((f"{100 * done / total:3.0f}%  " if share and total else "") + text)

    def doing(self, text: str) -> None:
        """Show work of unknown length on a terminal, until the next line."""
        if self._is_main and self._terminal and self.verbosity != "quiet":
            self._show_bar(text, None)

    def clear(self) -> None:
        """Erase the bar."""
        if self._bar:
            self._write(_ERASE)
            self._bar = ""

    def _show_bar(self, text: str, share: float | None) -> None:
        self._last = time.monotonic()
        blocks = _BLOCKS if (self._err.encoding or "").lower().startswith("utf") else _PLAIN_BLOCKS
        self._show(bar_line(text, share, shutil.get_terminal_size().columns - 1, blocks))

    def _show(self, bar: str) -> None:
        if bar:
            self._bar = bar
            coloured = re.sub(f"{_BLOCKS[0]}+", lambda found: f"{_CYAN}{found[0]}{_NO_COLOUR}", bar, count=1)
            self._write(_ERASE + (coloured if self._colours else bar))

    def _write(self, text: str) -> None:
        self._put(text, self._err)

    def _print(self, line: str, stream: TextIO | None) -> None:
        self._put(f"{line}\n", stream)

    def _put(self, text: str, stream: TextIO | None) -> None:
        """Write to a stream; once it is a terminal that has disconnected, write nothing and let the work continue."""
        if stream is None:
            return
        try:
            stream.write(text)
            stream.flush()
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            if stream is self._err:
                self._err, self._terminal = None, False
            else:
                self._out = None


def printable(text: str) -> str:
    """Return a text on one line, with control characters escaped."""
    return text.translate(_CONTROLS)


def columns_of(text: str) -> int:
    """Return the terminal columns of a text: two per Chinese character, none per combining accent."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )


def bar_line(text: str, share: float | None, width: int, blocks: str = _BLOCKS) -> str:
    """Return percent, bar and text in `width` columns; the bar is dropped first, then fields of the text."""
    percent = "" if share is None else f"{100 * share:3.0f}%  "
    fields = printable(text).split("   ")
    while len(fields) > 2 and len(percent) + columns_of("   ".join(fields)) > width:
        del fields[-2]
    line = "   ".join(fields)
    room = min(_BAR, width - columns_of(line) - len(percent) - 2)
    if share is not None and room >= 8:
        done = round(room * share)
        percent += f"{blocks[0] * done}{blocks[1] * (room - done)}  "
    line = percent + line
    while columns_of(line) > width:
        line = line[:-1]
    return line


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list | tuple) else value
