"""Files that a run writes while it trains: lines of metrics, checkpoints, and the model folder.

Only rank 0 writes; on the other ranks everything here does nothing.
"""

from __future__ import annotations

import errno
import json
import math
import os
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch.nn import Module

from maskling.config import flatten
from maskling.errors import CheckpointError
from maskling.files import atomic_write
from maskling.train import checkpoint
from maskling.train.checkpoint import Checkpoint, Snapshot, State
from maskling.train.engine import Engine
from maskling.train.events import Evaluated, Event, Saved, Step, Warned
from maskling.train.task import Best
from maskling.train.trackers import TrackerFollower

if TYPE_CHECKING:
    from torch import Tensor

# Fields of metrics.jsonl that depend on the machine; all others are equal in an interrupted and resumed run.
TIMING = ("tokens_per_second", "seconds_left", "mfu", "time")


class RunOutputs:
    """Files of one run. If the disk is full the run stops, or continues with a warning, as train.on_full_disk says."""

    def __init__(self, run_dir: Path, engine: Engine, step: int) -> None:
        """step: of the checkpoint that the run resumes from."""
        self._run_dir, self._is_main = run_dir, engine.ranks.is_main
        train = engine.recipe.train
        self._stops = train.on_full_disk == "stop"
        self._writer = AsyncCheckpointWriter(run_dir, train.keep)
        self._saved: int | None = None
        self._exported: int | None = None
        self._card_outdated = False
        self._lost_lines = 0
        self._pending_warnings: list[str] = []
        self._tracker: TrackerFollower | None = None
        if self._is_main and train.log is not None:
            settings = flatten(engine.recipe.model_dump(mode="json"))
            self._tracker = TrackerFollower(train.log, run_dir, settings, self._pending_warnings.append)
        self.restart_at(step)

    def restart_at(self, step: int) -> None:
        """Continue after `step`: discard the metrics of later steps."""
        self._metrics_log = MetricsLog(self._run_dir / "metrics.jsonl", step) if self._is_main else None
        if self._tracker is not None and self._metrics_log is not None:
            self._tracker.restart_at(step, _lines(self._metrics_log.path))
        self._exported = None

    def mark_card_outdated(self) -> None:
        """Note that the number of steps changed, which the card in the model folder shows."""
        self._card_outdated = True

    def newest_checkpoint(self) -> Checkpoint | None:
        """Wait for the checkpoint that is being written; return the newest whole one, on rank 0."""
        self._writer.wait()
        return checkpoint.newest_whole(self._run_dir)[0] if self._is_main else None

    def log(self, event: Step | Evaluated) -> None:
        """Write a line of metrics; if that fails and the run is to continue, note a warning."""
        self._write_line(_record(event))

    def log_samples(self, step: int, samples: Sequence[Sequence[Any]]) -> None:
        """Write the line of held-out sentences as the weights after `step` fill them."""
        if samples:
            self._write_line({"kind": "samples", "step": step, "samples": samples})

    def _write_line(self, record: dict[str, Any]) -> None:
        if self._metrics_log is None:
            return
        try:
            written = self._metrics_log.write(record)
            if self._tracker is not None:
                self._tracker.log(written)
        except CheckpointError as error:
            if self._stops:
                raise
            if not self._lost_lines:
                self._pending_warnings.append(f"{error}; training continues without this line, and perhaps others")
            self._lost_lines += 1

    def poll(self) -> Iterator[Event]:
        """Yield what was completed, or failed, since the last call."""
        while self._pending_warnings:
            yield Warned(self._pending_warnings.pop())
        yield from self._report(self._writer.completed())

    def save(self, engine: Engine, state: State) -> Iterator[Event]:
        """Start writing a checkpoint, and export the weights if they are the best so far."""
        self._saved = state.step
        module, optimizer_state = engine.whole_module(), engine.optimizer_state()
        if self._is_main:
            self._writer.save(module, optimizer_state, state)
            yield from self._report(self._writer.completed())
            if state.best is not None and state.best.step == state.step:
                yield from self._export(engine, module, state.step, state.best)

    def save_and_stop(self, engine: Engine, state: State) -> Iterator[Event]:
        """Write a checkpoint of `state`, and a model folder if there is none yet."""
        module = engine.whole_module()
        if self._saved != state.step:
            yield from self.save(engine, state)
        if self._is_main:
            self._writer.wait()
            yield from self._report(self._writer.completed(), last=True)
            if state.best is None:
                yield from self._export(engine, module, state.step, None, last=True)

    def finalize(self, engine: Engine, state: State) -> Generator[Event, None, Best | None]:
        """Export the best weights; return their evaluation, None if they are lost or were not evaluated."""
        module = engine.whole_module()
        if not self._is_main:
            return state.best
        self._writer.wait()
        yield from self._report(self._writer.completed(), last=True)
        best = state.best
        step = best.step if best else state.step
        if step == self._exported and not self._card_outdated:
            return best
        if step != state.step:
            # Not exported by this process: the run was resumed since. The module's own weights are no longer needed.
            try:
                found = checkpoint.read_checkpoint(checkpoint.checkpoint_path(self._run_dir, step))
                found.load(module, optimizer_state=False)
            except CheckpointError as error:
                if step == self._exported:
                    return best  # only the number of steps on the card is wrong
                yield Warned(f"the best checkpoint is lost ({error}); the model folder gets the last weights instead")
                best = None
        yield from self._export(engine, module, step, best, last=True)
        return best

    def close(self) -> None:
        """Wait for the checkpoint that is being written."""
        self._writer.close()
        if self._tracker is not None:
            self._tracker.close()

    def _report(self, writes: Sequence[CheckpointWrite], last: bool = False) -> Iterator[Event]:
        """Yield an event per checkpoint. last: no other will follow, so a missing one is an error."""
        for write in writes:
            if write.problem is None:
                yield Saved(write.step, write.path, write.stall_seconds, write.write_seconds)
            elif last or self._stops:
                raise CheckpointError(write.problem)
            else:
                yield Warned(f"{write.problem}; training continues, and the next checkpoint will be tried")

    def _export(
        self, engine: Engine, module: Module, step: int, best: Best | None, last: bool = False
    ) -> Iterator[Event]:
        """Write the weights to the model folder. last: no other will follow, so failing is an error."""
        try:
            path = engine.task.write(self._run_dir, module, best)
        except CheckpointError as error:
            if last or self._stops:
                raise
            yield Warned(f"{error}; training continues")
        else:
            self._exported, self._card_outdated = step, False
            yield Saved(step, path)


@dataclass(frozen=True)
class CheckpointWrite:
    """Result of writing a checkpoint. problem: why it failed. stall_seconds: how long training waited."""

    step: int
    path: Path
    stall_seconds: float
    write_seconds: float
    problem: str | None = None


class AsyncCheckpointWriter:
    """Writes checkpoints in a thread while training continues, one after the other, and deletes old ones.

    The thread writes a copy of weights and optimizer state. The next checkpoint waits for the one before, so there is
    at most one copy; training loses only the time of copying and of that wait.
    """

    def __init__(self, run_dir: Path, keep: int) -> None:
        self._run_dir, self._keep = run_dir, keep
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._pending: Future[CheckpointWrite] | None = None
        self._completed: list[CheckpointWrite] = []

    def save(self, module: Module, optimizer_state: Mapping[str, Tensor], state: State) -> None:
        """Copy, and return while the copy is being written."""
        began = time.perf_counter()
        self.wait()
        copy = checkpoint.snapshot(module, optimizer_state, state)
        stall = time.perf_counter() - began
        self._pending = self._thread.submit(self._write, copy, stall)

    def completed(self) -> list[CheckpointWrite]:
        """Return what was completed since the last call."""
        if self._pending is not None and self._pending.done():
            self.wait()
        completed, self._completed = self._completed, []
        return completed

    def wait(self) -> None:
        """Wait until nothing is being written."""
        if self._pending is not None:
            self._completed.append(self._pending.result())
            self._pending = None

    def close(self) -> None:
        """Finish the checkpoint that is being written, and end the thread."""
        self._thread.shutdown(wait=True)

    def _write(self, copy: Snapshot, stall_seconds: float) -> CheckpointWrite:
        began, state, problem = time.perf_counter(), copy.state, None
        path = checkpoint.checkpoint_path(self._run_dir, state.step)
        try:
            checkpoint.write_checkpoint(self._run_dir, copy)
            # Only now, when there is one more whole checkpoint than necessary.
            checkpoint.prune(self._run_dir, state.step, self._keep, state.best.step if state.best else None)
        except CheckpointError as error:
            problem = str(error)
        return CheckpointWrite(state.step, path, stall_seconds, time.perf_counter() - began, problem)


class MetricsLog:
    """`metrics.jsonl`: a line per logged step and per evaluation, the source of every chart.

    Each line is written by its own call, so that a reader never sees half of one.
    """

    def __init__(self, path: Path, step: int) -> None:
        """Remove the lines of steps after `step`: they are about to be taken again."""
        self.path = path
        # At step 0 the initial weights are evaluated again, too.
        kept = [line for line in _lines(path) if _step(line) <= step] if step else []
        with atomic_write(path) as file:
            file.write(b"".join(kept))

    def write(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Write a line, with the time; return what was written.

        Raises CheckpointError if it cannot be written; then nothing of it remains.
        """
        # JSON has no NaN; null is what every reader of it understands.
        plain = {key: None if isinstance(v, float) and not math.isfinite(v) else v for key, v in record.items()}
        plain["time"] = round(time.time(), 1)
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
                f"{self.path} could not be written: {error.strerror}; make room on the disk, and the same command "
                f"resumes from the last checkpoint"
            ) from None
        return plain


def _record(event: Step | Evaluated) -> dict[str, Any]:
    """Return the line of metrics of an event."""
    if isinstance(event, Step):
        return {"kind": "step", **event.flat()}
    return {"kind": "evaluation", "step": event.step, **event.measured, "best": event.best}


def _lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True) if path.exists() else []


def _step(line: bytes) -> float:
    """Return the step of a line; infinity for one that was cut off."""
    try:
        return float(json.loads(line)["step"]) if line.endswith(b"\n") else math.inf
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return math.inf
