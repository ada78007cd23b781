"""Commands run in a separate process, and their output."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

MASKLING = [sys.executable, "-m", "maskling"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}

PREPARE = ["--tokenizer.vocab-size", "150", "--shards.validation-fraction", "0.2", "--system.workers", "1"]
TRAIN = [
    *("--preset", "tiny", "--model.hidden-size", "32", "--model.num-layers", "2", "--model.intermediate-size", "48"),
    *("--data.seq-length", "32", "--train.batch-size", "4", "--evaluate.examples", "20", "--masking.rate", "0.3"),
    *("--system.threads", "1", "--system.device", "cpu"),
]


@dataclass(frozen=True)
class Said:
    """Exit code and output of a command."""

    code: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """The single line of an error, without its 'error: '; fails if there are several, or a traceback."""
        assert self.code == 2, self
        assert "Traceback" not in self.err
        *_, last = self.err.splitlines()
        assert last.startswith("error: ")
        assert self.err.count("error: ") == 1, self.err
        assert "  " not in last
        return last.removeprefix("error: ")


Command = Callable[..., Said]


def started(words: list[str], folder: Path) -> subprocess.Popen[str]:
    """Start a command in a separate process that receives Ctrl-C."""

    def restore_ctrl_c() -> None:
        # A process that a shell starts in the background ignores it, and so do its children, such as these tests.
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    pipe = subprocess.PIPE
    return subprocess.Popen(
        [*MASKLING, *words], cwd=folder, env=ENVIRONMENT, stdout=pipe, stderr=pipe, text=True, preexec_fn=restore_ctrl_c
    )
