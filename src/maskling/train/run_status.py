"""status.json of a run folder: when the run started and how it ended, for those who look at it from outside.

Nothing here decides what a run computes; a folder without status.json is resumed and read as before.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from maskling.files import read_object, write_json
from maskling.train.events import Started

State = Literal["running", "finished", "stopped", "failed", "died", "unknown"]
# A run on another machine, or of an older version, counts as running if its log is this recent.
_SILENCE_SECONDS = 600.0


@contextlib.contextmanager
def recorded_status(run_dir: Path, is_main: bool) -> Iterator[StatusRecorder]:
    """Record an exception, or a caller that left the loop, as the end of the run."""
    recorder = StatusRecorder(run_dir, is_main)
    try:
        yield recorder
    except GeneratorExit:
        recorder.end("stopped")
        raise
    except KeyboardInterrupt:
        recorder.end("stopped")
        raise
    except BaseException as error:
        recorder.end("failed", problem=f"{type(error).__name__}: {error}"[:500])
        raise


class StatusRecorder:
    """Writes status.json, on rank 0. A status that cannot be written (full disk) never ends a run."""

    def __init__(self, run_dir: Path, is_main: bool) -> None:
        self._path, self._is_main = run_dir / "status.json", is_main
        self._sessions: list[dict[str, Any]] = []
        self._facts: dict[str, Any] = {}
        self._started = False

    def start(self, event: Started, facts: dict[str, Any]) -> None:
        """Note that the run starts or resumes. facts: of the data."""
        before = read_object(self._path)
        old = before.get("sessions")
        resumed = event.resumed_from is not None
        self._sessions = (
            [entry for entry in old if isinstance(entry, dict)] if resumed and isinstance(old, list) else []
        )
        last = self._sessions[-1] if self._sessions else {}
        if last.get("state") == "running":  # killed
            last["state"] = "died"
        self._sessions.append(
            {
                "state": "running",
                "began": time.time(),
                "step": event.resumed_from or 0,
                "process": os.getpid(),
                "process_began": _process_began(os.getpid()),
                "host": platform.node(),
                "command": _command(),
                "commit": source_commit(),
            }
        )
        self._facts = {"parameters": event.parameters, "tokens": event.tokens, **facts}
        self._facts |= {"examples_per_epoch": event.examples_per_epoch, "examples_per_step": event.examples_per_step}
        self._started = True
        self._write()

    def end(self, state: Literal["finished", "stopped", "failed"], **more: Any) -> None:
        """Note that the run ended."""
        if not self._started:
            return
        self._started = False
        self._sessions[-1] |= {"state": state, "ended": time.time(), **more}
        self._write()

    def _write(self) -> None:
        if self._is_main:
            with contextlib.suppress(OSError):
                write_json(self._path, {**self._facts, "sessions": self._sessions})


@dataclass(frozen=True)
class RunStatus:
    """What status.json says, {} and [] for a run of an older version. silent: seconds since the log was written."""

    facts: dict[str, Any]
    sessions: list[dict[str, Any]]
    silent: float

    @property
    def state(self) -> State:
        """State of the run now: a process that is gone without a word has died."""
        if not self.sessions:
            return "unknown"
        last = self.sessions[-1]
        state = last.get("state")
        if state != "running":
            return state if state in ("finished", "stopped", "failed", "died") else "unknown"
        return "running" if _is_alive(last, self.silent) else "died"

    @property
    def problem(self) -> str:
        """Why the run failed, if it did."""
        return str(self.sessions[-1].get("problem") or "") if self.sessions else ""

    @property
    def seconds(self) -> float | None:
        """Wall-clock time over all sessions. The end of one that died is unknown; the time of its log stands for it."""
        total = 0.0
        for index, session in enumerate(self.sessions):
            began = _number(session.get("began"))
            ended = _number(session.get("ended"))
            if ended is None and index == len(self.sessions) - 1:
                ended = time.time() - (0.0 if self.state == "running" else self.silent)
            if began is not None and ended is not None:
                total += max(0.0, ended - began)
        return total if self.sessions else None


def read_status(run_dir: Path) -> RunStatus:
    """Read the status of a run; an unreadable one counts as missing."""
    tree = read_object(run_dir / "status.json")
    found = tree.pop("sessions", None)
    sessions = [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []
    times = [path.stat().st_mtime for path in (run_dir / "metrics.jsonl", run_dir / "status.json") if path.exists()]
    return RunStatus(tree, sessions, max(0.0, time.time() - max(times, default=0.0)))


def source_commit() -> str | None:
    """Return the commit of maskling's source if it runs from a git checkout; '-dirty' marks changed files."""
    root = Path(__file__).resolve().parents[3]
    if not (root / ".git").exists():
        return None
    call = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        done = subprocess.run(call, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


def _command() -> str | None:
    """Return the command line of this process if it is maskling's."""
    if not sys.argv or Path(sys.argv[0]).stem not in ("maskling", "__main__"):
        return None
    return shlex.join(["maskling", *sys.argv[1:]])


def _is_alive(session: dict[str, Any], silent: float) -> bool:
    process = session.get("process")
    if session.get("host") != platform.node() or os.name != "posix" or type(process) is not int or process <= 0:
        return silent < _SILENCE_SECONDS
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    began = _process_began(process)
    return began is None or session.get("process_began") is None or began == session["process_began"]


def _process_began(process: int) -> str | None:
    """Return when the system started a process, in its own unit, so that a reused number is noticed; Linux only."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    # A zombie (Z) has ended; its parent has only not noticed.
    return None if len(fields) < 20 else "ended" if fields[0] == "Z" else fields[19]


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
