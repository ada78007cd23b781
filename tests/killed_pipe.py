"""A pipe from a run that may be killed to its parent: the step it starts at, and whether it finished."""

from __future__ import annotations

import os
from pathlib import Path

from maskling.train.events import Finished, Started
from maskling.train.pretrain import pretrain
from maskling.train.recipe import Recipe


def train_and_tell(recipe: Recipe, run_dir: Path, writes: int | None) -> None:
    """Train to the end; write the step it starts at, and 'over' at the end, to the file descriptor `writes`, if any."""
    for event in pretrain(recipe, run_dir):
        if writes is not None and isinstance(event, Started):
            os.write(writes, f"{event.resumed_from or 0} ".encode())
        if writes is not None and isinstance(event, Finished):
            os.write(writes, b"over")


def told(reads: int) -> tuple[list[int], bool]:
    """Return the steps that were started at, if any, and whether training finished. Closes the pipe."""
    words = os.read(reads, 1000).decode().split()
    os.close(reads)
    return [int(word) for word in words if word != "over"], "over" in words
