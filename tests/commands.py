"""Running a command in this process, and what it said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

PREPARE = ["--tokenizer.vocab-size", "150", "--shards.validation-fraction", "0.2", "--system.workers", "1"]
TRAIN = [
    *("--preset", "tiny", "--model.hidden-size", "32", "--model.num-layers", "2", "--model.intermediate-size", "48"),
    *("--data.seq-length", "32", "--train.batch-size", "4", "--evaluate.examples", "20", "--masking.rate", "0.3"),
    *("--system.threads", "1", "--system.device", "cpu"),
]


@dataclass(frozen=True)
class Said:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """The one line of an error, without its 'error: '; fails if there is another line of it, or a traceback."""
        assert self.code == 2, self
        assert "Traceback" not in self.err
        *_, last = self.err.splitlines()
        assert last.startswith("error: ")
        assert self.err.count("error: ") == 1, self.err
        assert "  " not in last
        return last.removeprefix("error: ")


Command = Callable[..., Said]
