"""What a run carries from step to step, and what follows a step: a line, an evaluation, a checkpoint, an export."""

from __future__ import annotations

import enum
import math
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from maskling.data.batch import Batch
from maskling.errors import CheckpointError, NumericsError
from maskling.objectives.measure import measure
from maskling.train import checkpoint
from maskling.train.checkpoint import State
from maskling.train.events import Evaluated, Event, Finished, Saved, Step, Warned
from maskling.train.journal import Journal
from maskling.train.loop import Parts, Taken, take_step
from maskling.train.material import Material
from maskling.train.model_folder import write_model
from maskling.train.recipe import Recipe
from maskling.train.restoring import begin_again, restore
from maskling.train.speed import Pace
from maskling.train.watch import Watch
from maskling.train.work import Work
from maskling.train.writer import Writer, Written

# How often a run goes back to one and the same step before it gives up.
_MOST_REWINDS = 3


class Ending(enum.IntEnum):
    """Why the steps ended. Ranks agree on the largest."""

    DONE = 0
    STOPPED = 1
    LEFT = 2
    WENT_BACK = 3


class _SomebodyLeft(Exception):  # noqa: N818 - not an error
    """Another rank has left the loop over the events."""


class Running:
    """One run, on one rank, between its first step and its last.

    Only rank 0 writes. The ranks meet before each step, before each evaluation and after the last step (`_meet`); a
    rank that leaves the loop over the events comes to the next meeting, to say so, and to no more.
    """

    def __init__(
        self,
        run_dir: Path,
        recipe: Recipe,
        parts: Parts,
        material: Material,
        validation: Sequence[Batch] | None,
        state: State,
    ) -> None:
        """state: of the checkpoint the run goes on from, or of step 0.

        validation: this rank's share of the batches to evaluate on, None for no evaluations.
        """
        self._run_dir, self._recipe, self._parts = run_dir, recipe, parts
        self._material, self._validation = material, validation
        self._state, self._beginning = state, state
        self._train, self._steps = recipe.train, recipe.train.steps
        self._leads = parts.world.leads
        self._pace = Pace(recipe, parts.compute)
        self._writer = Writer(run_dir, self._train.keep)
        self._submitted: int | None = None
        self._exported: int | None = None
        self._bad_step = 0
        self._lost_lines = 0
        self._unsaid: list[str] = []
        self._take_up(state)

    @property
    def state(self) -> State:
        """What the newest checkpoint says."""
        return self._state

    def run(
        self, first: Iterable[Event], works: Iterable[Work], stop: Callable[[], bool]
    ) -> Generator[Event, None, Ending]:
        """Tell `first`, take the steps of `works` and do what is due after each; returns why they ended."""
        taken = False
        try:
            yield from first
            for work in works:
                ending = self._meet(stop() if taken else False)
                if ending is not Ending.DONE:
                    yield from self._stop(work.step)
                    return ending
                if (yield from self._take(work)) is Ending.WENT_BACK:
                    self._meet()
                    return Ending.WENT_BACK
                taken = True
            self._meet()
        except _SomebodyLeft:
            return Ending.LEFT
        except GeneratorExit:
            self._parts.world.highest(Ending.LEFT)
            raise
        return Ending.DONE

    def go_back(self) -> None:
        """Return to the newest whole checkpoint, or to the beginning, and leave out the text that led astray.

        Raises NumericsError if the run has gone back there too often.
        """
        bad, known = self._bad_step, self._state.left_out
        self._writer.wait()
        found = checkpoint.newest_whole(self._run_dir)[0] if self._leads else None
        state = restore(found, self._parts)
        if state is None:
            state = self._beginning
            self._parts = begin_again(self._recipe, self._parts)
        first = state.step
        before = next(((count, times) for place, count, times in known if place == first), (0, 0))
        count, times = before[0] + bad - first, before[1] + 1
        if times > _MOST_REWINDS:
            raise NumericsError(
                f"step {bad:,}: the numbers went wrong again after going back to step {first:,} {_MOST_REWINDS} times, "
                f"each time to other text; it is not the text, so lower optimizer.lr in a new run"
            )
        kept = [entry for entry in known if entry[0] < first]
        self._take_up(replace(state, left_out=[*kept, [first, count, times]], compute=self._state.compute))
        self._exported = None

    def end(self) -> Iterator[Event]:
        """Leave the best weights in the model folder."""
        try:
            if self._leads:
                yield from self._end()
        except GeneratorExit:
            self._parts.world.wait()
            raise
        self._parts.world.wait()

    def close(self) -> None:
        """Finish the checkpoint that is being written."""
        self._writer.close()

    def finished(self, seconds: float, ending: Ending) -> Finished:
        """The event that ends the run."""
        best = self._state.best
        model = self._run_dir / "model"
        return Finished(
            step=self._steps if ending is Ending.DONE else self._state.step,
            steps=self._steps,
            seconds=seconds,
            stopped=ending is not Ending.DONE,
            best_step=best["step"] if best else None,
            best_loss=best["mlm_loss"] if best else None,
            model=model if model.exists() else None,
        )

    def _meet(self, stop: bool = False) -> Ending:
        """Hear whether any rank was asked to stop. Raises _SomebodyLeft if one has left."""
        ending = Ending(self._parts.world.highest(Ending.STOPPED if stop else Ending.DONE))
        if ending is Ending.LEFT:
            raise _SomebodyLeft
        return ending

    def _take_up(self, state: State) -> None:
        """Go on from `state`."""
        self._state = state
        self._watch = Watch(self._train.spike, self._train.plateau_after, self._material.unigram_entropy)
        if state.watch:
            self._watch.load_state(state.watch)
        self._journal = Journal(self._run_dir / "metrics.jsonl", state.step) if self._leads else None

    def _take(self, work: Work) -> Generator[Event, None, Ending]:
        factor = self._recipe.schedule.at(work.step, self._steps)
        taken = take_step(self._parts, work, factor, self._recipe)
        step = work.step + 1
        yield self._stepped(step, work, taken, factor)
        if taken.problem is not None and self._train.on_nonfinite == "rewind":
            self._bad_step = step
            yield Warned(f"{taken.problem}; the run goes back to its last checkpoint and on with later text")
            return Ending.WENT_BACK
        yield from self._warnings(step, taken)
        while self._unsaid:
            yield Warned(self._unsaid.pop())
        yield from self._tell(self._writer.done())
        saves = self._train.saves(step, self._steps)
        if self._validation is not None and self._train.evaluates(step, self._steps):
            self._meet()
            evaluated = self._evaluate(step)
            yield evaluated
            saves = saves or evaluated.best
        if saves:
            yield from self._save(step)
        self._pace.resume()
        return Ending.DONE

    def _stop(self, step: int) -> Iterator[Event]:
        """Leave a checkpoint, and a model folder if there is none yet."""
        if self._submitted != step:
            yield from self._save(step)
        if self._leads:
            self._writer.wait()
            yield from self._tell(self._writer.done(), last=True)
            if self._state.best is None:
                yield from self._export(step, last=True)

    def _end(self) -> Iterator[Event]:
        self._writer.wait()
        yield from self._tell(self._writer.done(), last=True)
        best = self._state.best["step"] if self._state.best else self._steps
        if best == self._exported:
            return
        if best != self._steps:
            # Not exported by this process: the run was stopped since. The module's own weights are no longer needed.
            try:
                found = checkpoint.read(checkpoint.folder_of(self._run_dir, best))
                found.load(self._parts.module, optimizer_state=False)
            except CheckpointError as error:
                yield Warned(f"the best checkpoint is lost ({error}); the model folder gets the last weights instead")
                self._state = replace(self._state, best=None)
        yield from self._export(best, last=True)

    def _stepped(self, step: int, work: Work, taken: Taken, factor: float) -> Step:
        pace = self._pace.step(work, step)
        event = Step(
            step=step,
            steps=self._steps,
            loss=taken.loss,
            mlm=taken.mlm,
            pair=taken.pair,
            lr=self._recipe.optimizer.lr * factor,
            mask_rate=work.mask_rate,
            tokens_per_second=pace.tokens_per_second,
            fill=work.fill,
            gradient_norm=taken.gradient_norm,
            seconds_left=pace.seconds_left,
            mfu=pace.mfu,
        )
        if self._journal is not None and self._train.logs(step, self._steps):
            self._log(partial(self._journal.step, event))
        return event

    def _log(self, write: Callable[[], None]) -> None:
        """Write a line of metrics, or note that it is lost, if the run is to go on all the same."""
        try:
            write()
        except CheckpointError as error:
            if self._train.on_full_disk == "stop":
                raise
            if not self._lost_lines:
                self._unsaid.append(f"{error}; training goes on without this line, and perhaps others")
            self._lost_lines += 1

    def _warnings(self, step: int, taken: Taken) -> Iterator[Warned]:
        if taken.problem is not None:
            self._state = replace(self._state, skipped=self._state.skipped + 1)
            yield Warned(f"{taken.problem} ({self._state.skipped} so far)")
        else:
            for text in self._watch.see(step, taken.mlm):
                yield Warned(text)

    def _evaluate(self, step: int) -> Evaluated:
        began = time.perf_counter()
        parts = self._parts
        measured = measure(parts.module, self._validation or (), parts.compute, parts.world.sum)
        self._pace.evaluated(time.perf_counter() - began)
        before = self._state.best["mlm_loss"] if self._state.best else math.inf
        event = Evaluated(step, measured, best=measured.mlm_loss < before)
        if event.best:
            self._state = replace(self._state, best={"step": step, **asdict(measured)})
        if self._journal is not None:
            self._log(partial(self._journal.evaluated, event, self._material.unigram_entropy))
        return event

    def _save(self, step: int) -> Iterator[Event]:
        """Begin a checkpoint, and put the weights into the model folder if they are the best so far."""
        self._state = replace(self._state, step=step, watch=self._watch.state())
        self._submitted = step
        if self._leads:
            self._writer.save(self._parts.module, self._parts.optimizer.state(), self._state)
            yield from self._tell(self._writer.done())
            if self._state.best is not None and self._state.best["step"] == step:
                yield from self._export(step)

    def _tell(self, written: Sequence[Written], last: bool = False) -> Iterator[Event]:
        """Say what became of checkpoints. last: there will be no other, so one that is missing is an error."""
        for one in written:
            if one.problem is None:
                yield Saved(one.step, one.path, one.stall_seconds, one.write_seconds)
            elif last or self._train.on_full_disk == "stop":
                raise CheckpointError(one.problem)
            else:
                yield Warned(f"{one.problem}; training goes on, and the next checkpoint will be tried")

    def _export(self, step: int, last: bool = False) -> Iterator[Event]:
        """Put the weights into the model folder. last: there will be no other, so failing is an error."""
        module, best = self._parts.module, self._state.best
        try:
            path = write_model(self._run_dir, module, self._material, self._recipe, best)
        except CheckpointError as error:
            if last or self._train.on_full_disk == "stop":
                raise
            yield Warned(f"{error}; training goes on")
        else:
            self._exported = step
            yield Saved(step, path)
