"""Checkpoints written while training goes on.

A thread writes a copy of the weights and moments. The next checkpoint waits for the one before, so that there is one
copy at most. What training loses is the time of copying, and of that waiting.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from maskling.errors import CheckpointError
from maskling.train import checkpoint
from maskling.train.checkpoint import Snapshot, State

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module


@dataclass(frozen=True)
class Written:
    """A checkpoint that was to be written. problem: why it was not. The seconds: training stood still, writing took."""

    step: int
    path: Path
    stall_seconds: float
    write_seconds: float
    problem: str | None = None


class Writer:
    """Writes the checkpoints of a run, one after the other, and deletes those that are no longer needed."""

    def __init__(self, run_dir: Path, keep: int) -> None:
        self._run_dir, self._keep = run_dir, keep
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._under_way: Future[Written] | None = None
        self._whole: list[Written] = []

    def save(self, module: Module, optimizer_state: Mapping[str, Tensor], state: State) -> None:
        """Copy, and return while the copy is being written."""
        began = time.perf_counter()
        self.wait()
        copy = checkpoint.snapshot(module, optimizer_state, state)
        stall = time.perf_counter() - began
        self._under_way = self._thread.submit(self._write, copy, stall)

    def done(self) -> list[Written]:
        """What has come to an end since this was last asked."""
        if self._under_way is not None and self._under_way.done():
            self.wait()
        whole, self._whole = self._whole, []
        return whole

    def wait(self) -> None:
        """Until nothing is being written."""
        if self._under_way is not None:
            self._whole.append(self._under_way.result())
            self._under_way = None

    def close(self) -> None:
        """Finish what is being written, and write no more."""
        self._thread.shutdown(wait=True)

    def _write(self, copy: Snapshot, stall_seconds: float) -> Written:
        began, state, problem = time.perf_counter(), copy.state, None
        path = checkpoint.folder_of(self._run_dir, state.step)
        try:
            checkpoint.write(self._run_dir, copy)
            # Only now, when there is one more whole checkpoint than there has to be.
            checkpoint.prune(self._run_dir, state.step, self._keep, state.best.step if state.best else None)
        except CheckpointError as error:
            problem = str(error)
        return Written(state.step, path, stall_seconds, time.perf_counter() - began, problem)
