"""What a run leaves on the disk while it goes on: lines of metrics, checkpoints, and the folder for other programs.

Only rank 0 keeps anything; on the others everything here does nothing.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

from torch.nn import Module

from maskling.errors import CheckpointError
from maskling.train import checkpoint
from maskling.train.checkpoint import Checkpoint, State
from maskling.train.events import Evaluated, Event, Saved, Step, Warned
from maskling.train.journal import Journal
from maskling.train.loop import Parts
from maskling.train.task import Best
from maskling.train.writer import Writer, Written


class Keeping:
    """The files of one run. A disk that is full stops the run, or costs a warning, as train.on_full_disk says."""

    def __init__(self, run_dir: Path, parts: Parts, step: int) -> None:
        """step: of the checkpoint that the run goes on from."""
        self._run_dir, self._leads = run_dir, parts.world.leads
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
                found = checkpoint.read(checkpoint.folder_of(self._run_dir, step))
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
