"""The one place that prints: results on stdout, everything else on stderr, and only from rank 0.

On a terminal a job shows a bar that is redrawn in place. In a log file a bar would be noise, so
there the same report is one plain line every few seconds.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress


class Console:
    """Prints for one command. With `as_json`, stdout carries JSON and nothing else."""

    def __init__(
        self,
        as_json: bool = False,
        every_seconds: float = 5.0,
        out: TextIO | None = None,
        err: TextIO | None = None,
    ) -> None:
        self.as_json = as_json
        self._every_seconds = every_seconds
        self._out = out or sys.stdout
        self._err = err or sys.stderr
        self._speaks = os.environ.get("RANK", "0") == "0"
        self._terminal = self._err.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._last = float("-inf")
        self._bar: Progress | None = None

    def result(self, text: str = "") -> None:
        """A line of the answer, for a person; with `as_json` it is left out."""
        if self._speaks and not self.as_json:
            self.clear()
            print(text, file=self._out, flush=True)

    def data(self, value: Any) -> None:
        """The answer for a machine: one line of JSON, only with `as_json`."""
        if self._speaks and self.as_json:
            print(json.dumps(value, ensure_ascii=False), file=self._out, flush=True)

    def note(self, text: str) -> None:
        """A line about the work, on stderr."""
        if self._speaks:
            if self._bar is not None:
                self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
            else:
                print(text, file=self._err, flush=True)

    def warn(self, text: str) -> None:
        """Something a person should know, on stderr."""
        self.note(f"warning: {text}")

    def error(self, text: str) -> None:
        """Why the command ends without doing what it was asked."""
        self.clear()
        if self._speaks:
            lines = text.splitlines() or [""]
            print("\n".join([f"error: {lines[0]}", *(f"       {line}" for line in lines[1:])]), file=self._err)

    def progress(self, text: str, done: float, total: float | None, last: bool = False) -> None:
        """How far a job is: a bar on a terminal; elsewhere a line, at most one every few seconds (and the last)."""
        if not self._speaks:
            return
        if self._terminal:
            self._draw(text, done, total)
        elif last or time.monotonic() - self._last >= self._every_seconds:
            self._last = time.monotonic()
            share = f"{100 * done / total:3.0f}%  " if total else ""
            self.note(f"{share}{text}")

    def clear(self) -> None:
        """Take the bar off the screen."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _draw(self, text: str, done: float, total: float | None) -> None:
        from rich.console import Console as RichConsole
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        if self._bar is None:
            columns = (BarColumn(24), TaskProgressColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
            self._bar = Progress(*columns, console=RichConsole(file=self._err), transient=True, refresh_per_second=4)
            self._bar.add_task(text, total=total)
            self._bar.start()
        task = self._bar.task_ids[0]
        self._bar.update(task, description=text, completed=done, total=total)


def size(count: float) -> str:
    """12_345_678 as '12.3 M': counts as people read them."""
    for unit in ("", " k", " M", " G", " T"):
        if abs(count) < 1000 or unit == " T":
            return f"{count:.0f}" if not unit else f"{count:.3g}{unit}"
        count /= 1000
    raise AssertionError("the loop always returns")


def duration(seconds: float) -> str:
    """3725 as '1h 02m', 125 as '2m 05s', 4.2 as '4s'."""
    whole = max(0, round(seconds))
    if whole >= 3600:
        return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
    if whole >= 60:
        return f"{whole // 60}m {whole % 60:02d}s"
    return f"{whole}s"


def table(rows: list[list[str]], indent: str = "  ") -> list[str]:
    """Aligned lines: columns as wide as their widest cell, numbers to the right."""
    if not rows:
        return []
    widths = [max(len(row[i]) for row in rows if i < len(row)) for i in range(max(map(len, rows)))]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if cell[:1].isdigit() or cell[:1] in "-+." else cell.ljust(width)
            for cell, width in zip(row, widths, strict=False)
        ]
        lines.append((indent + "  ".join(cells)).rstrip())
    return lines
