"""What a run leaves on the disk while it goes on: lines of metrics, checkpoints, and the folder for other programs.

Only rank 0 keeps anything; on the others everything here does nothing.
"""

from __future__ import annotations

import errno
import json
import math
import os
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import Module

from maskling.errors import CheckpointError
from maskling.files import atomic_write
from maskling.train import checkpoint
from maskling.train.checkpoint import Checkpoint, Snapshot, State
from maskling.train.events import Evaluated, Event, Saved, Step, Warned
from maskling.train.fsdp import tensors_of
from maskling.train.step import Parts
from maskling.train.task import Best

if TYPE_CHECKING:
    from torch import Tensor

# FOLDED DOCS
# [writer] Checkpoints written while training goes on. A thread writes a copy of the weights and moments. The next checkpoint waits for the one before, so that there is one copy at most. What training loses is the time of copying, and of that waiting.
# [journal] `metrics.jsonl`: a line for each logged step and each evaluation, the source of every chart.
# [restoring] Weights and moments put back: from a checkpoint that rank 0 reads, or as the run began.


class Keeping:
    """The files of one run. A disk that is full stops the run, or costs a warning, as train.on_full_disk says."""

    def __init__(self, run_dir: Path, parts: Parts, step: int) -> None:
        """step: of the checkpoint that the run goes on from."""
        self._run_dir, self._leads = run_dir, parts.ranks.is_main
        train = parts.task.recipe.train
        self._stops = train.on_full_disk == "stop"
        self._writer = Writer(run_dir, train.keep)
        self._saved: int | None = None
        self._exported: int | None = None
        self._old_card = False
        self._lost_lines = 0
        self._unsaid: list[str] = []
        self.take_up(step)

    def take_up(self, step: int) -> None:
        """Go on after `step`: what was written of later steps counts no more."""
        self._journal = Journal(self._run_dir / "metrics.jsonl", step) if self._leads else None
        self._exported = None

    def replanned(self) -> None:
        """The card in the model folder says how many steps the run was to have."""
        self._old_card = True

    def go_back(self) -> Checkpoint | None:
        """The newest whole checkpoint, on rank 0, when none is being written any more."""
        self._writer.wait()
        return checkpoint.newest_whole(self._run_dir)[0] if self._leads else None

    def line(self, event: Step | Evaluated) -> None:
        """Write a line of metrics, or note that it is lost, if the run is to go on all the same."""
        if self._journal is None:
            return
        write = self._journal.step if isinstance(event, Step) else self._journal.evaluated
        try:
            write(event)  # type: ignore[arg-type]
        except CheckpointError as error:
            if self._stops:
                raise
            if not self._lost_lines:
                self._unsaid.append(f"{error}; training goes on without this line, and perhaps others")
            self._lost_lines += 1

    def news(self) -> Iterator[Event]:
        """What has come to an end, or gone wrong, since this was last asked."""
        while self._unsaid:
            yield Warned(self._unsaid.pop())
        yield from self._tell(self._writer.done())

    def save(self, parts: Parts, state: State) -> Iterator[Event]:
        """Begin a checkpoint, and put the weights into the model folder if they are the best so far."""
        self._saved = state.step
        module, moments = parts.in_one_piece(), parts.moments()
        if self._leads:
            self._writer.save(module, moments, state)
            yield from self._tell(self._writer.done())
            if state.best is not None and state.best.step == state.step:
                yield from self._export(parts, module, state.step, state.best)

    def stop(self, parts: Parts, state: State) -> Iterator[Event]:
        """Leave a checkpoint of `state`, and a model folder if there is none yet."""
        module = parts.in_one_piece()
        if self._saved != state.step:
            yield from self.save(parts, state)
        if self._leads:
            self._writer.wait()
            yield from self._tell(self._writer.done(), last=True)
            if state.best is None:
                yield from self._export(parts, module, state.step, None, last=True)

    def end(self, parts: Parts, state: State) -> Generator[Event, None, Best | None]:
        """Leave the best weights in the model folder; returns their evaluation, None if they are lost or have none."""
        module = parts.in_one_piece()
        if not self._leads:
            return state.best
        self._writer.wait()
        yield from self._tell(self._writer.done(), last=True)
        best = state.best
        step = best.step if best else state.step
        if step == self._exported and not self._old_card:
            return best
        if step != state.step:
            # Not exported by this process: the run was stopped since. The module's own weights are no longer needed.
            try:
                found = checkpoint.read_checkpoint(checkpoint.folder_of(self._run_dir, step))
                found.load(module, optimizer_state=False)
            except CheckpointError as error:
                if step == self._exported:
                    return best  # all that is wrong is a number on the card
                yield Warned(f"the best checkpoint is lost ({error}); the model folder gets the last weights instead")
                best = None
        yield from self._export(parts, module, step, best, last=True)
        return best

    def close(self) -> None:
        """Finish the checkpoint that is being written."""
        self._writer.close()

    def _tell(self, written: Sequence[Written], last: bool = False) -> Iterator[Event]:
        """Say what became of checkpoints. last: there will be no other, so one that is missing is an error."""
        for one in written:
            if one.problem is None:
                yield Saved(one.step, one.path, one.stall_seconds, one.write_seconds)
            elif last or self._stops:
                raise CheckpointError(one.problem)
            else:
                yield Warned(f"{one.problem}; training goes on, and the next checkpoint will be tried")

    def _export(
        self, parts: Parts, module: Module, step: int, best: Best | None, last: bool = False
    ) -> Iterator[Event]:
        """Put the weights into the model folder. last: there will be no other, so failing is an error."""
        try:
            path = parts.task.write(self._run_dir, module, best)
        except CheckpointError as error:
            if last or self._stops:
                raise
            yield Warned(f"{error}; training goes on")
        else:
            self._exported, self._old_card = step, False
            yield Saved(step, path)


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
            checkpoint.write_checkpoint(self._run_dir, copy)
            # Only now, when there is one more whole checkpoint than there has to be.
            checkpoint.prune(self._run_dir, state.step, self._keep, state.best.step if state.best else None)
        except CheckpointError as error:
            problem = str(error)
        return Written(state.step, path, stall_seconds, time.perf_counter() - began, problem)


# Fields that tell of the machine and the hour; all others are equal in a run that was stopped and gone on with.
TIMING = ("tokens_per_second", "seconds_left", "mfu")


class Journal:
    """Appends to the metrics of a run, each line on its own write, so that a reader never meets half of one."""

    def __init__(self, path: Path, step: int) -> None:
        """Take back what was written of steps after `step`: they are about to be taken again."""
        self.path = path
        # A run that begins, or begins again, measures anew what it begins with.
        kept = [line for line in _lines(path) if _step(line) <= step] if step else []
        with atomic_write(path) as file:
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


def restore(found: Checkpoint | None, parts: Parts) -> State | None:
    """Load rank 0's checkpoint on every rank; returns its state, or None if rank 0 has found none.

    Raises CheckpointError if it does not fit.
    """
    ranks = parts.ranks
    state = ranks.broadcast(found and asdict(found.state))
    if state is None:
        return None
    module = parts.task.empty_module() if parts.shards else parts.module
    moments = found.load(module) if found else {}
    ranks.broadcast_tensors(tensors_of(module))
    if parts.shards:
        parts.shards.take(module)
    parts.optimizer.load_state(ranks.broadcast_state(moments))
    return State.of(state)


def begin_again(parts: Parts) -> Parts:
    """The weights that the run began with, on every rank, and an optimizer that remembers nothing."""
    task = parts.task
    module = task.empty_module() if parts.shards else parts.module
    if parts.ranks.is_main:
        with torch.no_grad():
            module.load_state_dict(task.first_module().state_dict())
    parts.ranks.broadcast_tensors(tensors_of(module))
    if parts.shards:
        parts.shards.take(module)
    return replace(parts, optimizer=task.recipe.optimizer.build(parts.module))
