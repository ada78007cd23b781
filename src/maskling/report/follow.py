"""Following the log of a run that another process trains: new lines as they come."""

from __future__ import annotations

import json
from pathlib import Path

from maskling.report.runs import Entry


class LogFollower:
    """Reads the lines that were added to metrics.jsonl since the last call.

    A run that resumes or rewinds writes the file anew without the lines after its checkpoint; reading then begins
    again, and entries up to the last step are not returned twice.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset, self._inode = 0, -1
        self._last: dict[str, float] = {}

    def read(self) -> list[Entry]:
        """Return the new entries; none if there is no file yet."""
        try:
            with self._path.open("rb") as file:
                found = self._path.stat()
                if found.st_ino != self._inode or found.st_size < self._offset:
                    self._offset, self._inode = 0, found.st_ino
                file.seek(self._offset)
                new = file.read()
        except OSError:
            return []
        whole = new[: new.rfind(b"\n") + 1]  # a line that is being written is read with the next call
        self._offset += len(whole)
        return [entry for line in whole.splitlines() if (entry := self._entry(line)) is not None]

    def _entry(self, line: bytes) -> Entry | None:
        try:
            entry = json.loads(line)
            kind, step = str(entry["kind"]), float(entry["step"])
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            return None
        if not isinstance(entry, dict) or step <= self._last.get(kind, -1.0):
            return None
        self._last[kind] = step
        return entry
