"""`metrics.jsonl`: a line for each logged step and each evaluation, the source of every chart."""

from __future__ import annotations

import errno
import json
import math
import os
from pathlib import Path
from typing import Any

from maskling.errors import CheckpointError
from maskling.files import written_aside
from maskling.train.events import Evaluated, Step

# Fields that tell of the machine and the hour; all others are equal in a run that was stopped and gone on with.
TIMING = ("tokens_per_second", "seconds_left", "mfu")


class Journal:
    """Appends to the metrics of a run, each line on its own write, so that a reader never meets half of one."""

    def __init__(self, path: Path, step: int) -> None:
        """Take back what was written of steps after `step`: they are about to be taken again."""
        self.path = path
        # A run that begins, or begins again, measures anew what it begins with.
        kept = [line for line in _lines(path) if _step(line) <= step] if step else []
        with written_aside(path) as file:
            file.write(b"".join(kept))

    def step(self, event: Step) -> None:
        """Write the line of a step. Raises CheckpointError if it cannot be written; then nothing of it is there."""
        self._write({"kind": "step", **event.flat()})

    def evaluated(self, event: Evaluated) -> None:
        """Write the line of an evaluation. Raises CheckpointError as `step` does."""
        self._write({"kind": "evaluation", "step": event.step, **event.measured, "best": event.best})

    def _write(self, record: dict[str, Any]) -> None:
        # JSON has no NaN; null is what every reader of it understands.
        plain = {key: None if isinstance(v, float) and not math.isfinite(v) else v for key, v in record.items()}
        line = json.dumps(plain).encode() + b"\n"
        try:
            with self.path.open("ab", buffering=0) as file:
                before = file.tell()
                try:
                    written = file.write(line)
                except OSError:
                    file.truncate(before)
                    raise
                if written != len(line):
                    file.truncate(before)
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise CheckpointError(
                f"{self.path} could not be written: {error.strerror}; make room on the disk, and the same command goes "
                f"on from the last checkpoint"
            ) from None


def _lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True) if path.exists() else []


def _step(line: bytes) -> float:
    """The step a line is of; infinity for one that was cut off."""
    try:
        return float(json.loads(line)["step"]) if line.endswith(b"\n") else math.inf
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return math.inf
