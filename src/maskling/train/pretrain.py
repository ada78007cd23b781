"""A whole pretraining run: `for event in pretrain(recipe, run_dir)`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from maskling.train.events import Event
from maskling.train.pretraining import Text
from maskling.train.recipe import Recipe
from maskling.train.run import run


def pretrain(
    recipe: Recipe, run_dir: Path, stop: Callable[[], bool] = lambda: False, force_new: bool = False
) -> Iterator[Event]:
    """Train a model, or go on with the run in `run_dir`, telling of each thing that happens.

    Started by torchrun, each process is one rank of the same run; all are told the same steps and evaluations, and
    rank 0 of what it writes.

    stop: asked after every step; when it says yes on any rank, a checkpoint is written and the run ends, to be gone on
    with by the same call. So does leaving the loop, which costs the steps since the last checkpoint. torch's global
    generator is reseeded at each step, and its number of threads set.

    force_new: begin anew even where there is a run; that is moved to RUN.1 (or the next free number), never deleted.

    Raises CheckpointError if `run_dir` holds another run, is in use, or cannot be written to; SettingsError, DataError,
    TokenizerError or ModelError if what it is to be made of does not fit together; NumericsError when numbers stop
    being numbers; RankError when another rank has failed.
    """
    return run(recipe, run_dir, Text.open, stop, force_new)
