"""What a run that may be killed tells its parent through a pipe: where it begins, and that it is over."""

from __future__ import annotations

import os
from pathlib import Path

from maskling.train.events import Finished, Started
from maskling.train.pretrain import pretrain
from maskling.train.recipe import Recipe


def train_and_tell(recipe: Recipe, run_dir: Path, writes: int | None) -> None:
    """Train to the end; `writes`, if there is one, is told the step it began at, and 'over' at its end."""
    for event in pretrain(recipe, run_dir):
        if writes is not None and isinstance(event, Started):
            os.write(writes, f"{event.resumed_from or 0} ".encode())
        if writes is not None and isinstance(event, Finished):
            os.write(writes, b"over")


def told(reads: int) -> tuple[list[int], bool]:
    """The step it began at, if it got so far, and whether it was over. Closes the pipe."""
    words = os.read(reads, 1000).decode().split()
    os.close(reads)
    return [int(word) for word in words if word != "over"], "over" in words
