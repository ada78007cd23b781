"""A run between its first step and its last: when ranks meet, what follows a step, when it is over or goes back."""

from __future__ import annotations

import enum
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from maskling.errors import NumericsError
from maskling.train.budget import corrected, reconsiders
from maskling.train.checkpoint import State
from maskling.train.events import Evaluated, Evaluating, Event, Finished, Replanned, Step, Warned
from maskling.train.loss_monitor import Watch
from maskling.train.outputs import Keeping, begin_again, restore
from maskling.train.settings import TrainSettings, seconds
from maskling.train.step import Parts, Taken, take_step
from maskling.train.task import AnyTask, Best, Numbers, StepBatches, finite_metrics
from maskling.train.timing import Clock, Costs, Pace

# How often a run goes back to one and the same step before it gives up.
_MOST_REWINDS = 3


class Ending(enum.IntEnum):
    """Why the steps ended. Ranks agree on the largest."""

    DONE = 0
    STOPPED = 1
    LEFT = 2
    WENT_BACK = 3
    REPLANNED = 4


class _SomebodyLeft(Exception):  # noqa: N818 - not an error
    """Another rank has left the loop over the events."""


class Running:
    """One run, on one rank.

    The ranks meet before each step, before each evaluation, before a plan is looked at again, and after the last step
    (`_meet`); a rank that leaves the loop over the events comes to the next meeting, to say so, and to no more.
    """

    def __init__(self, run_dir: Path, parts: Parts, state: State, began: float) -> None:
        """state: of the checkpoint the run goes on from, or of step 0. began: when, by `perf_counter`."""
        self._run_dir = run_dir
        self._state, self._beginning = state, state
        self._pace = Pace(parts.compute)
        unknown = Costs(step=0.0, evaluation=None if parts.task.evaluates else 0.0)
        self._clock = Clock(state.seconds, began, state.costs or unknown)
        self._keeping = Keeping(run_dir, parts, state.step)
        self._bad_step = 0
        self._use(parts)
        self._take_up(state)

    @property
    def parts(self) -> Parts:
        """What takes the steps, with the settings of now."""
        return self._parts

    @property
    def state(self) -> State:
        """What the newest checkpoint says."""
        return self._state

    def run(
        self, first: Iterable[Event], works: Iterable[StepBatches], stop: Callable[[], bool]
    ) -> Generator[Event, None, Ending]:
        """Tell `first`, take the steps of `works` and do what is due after each; returns why they ended."""
        taken = False
        try:
            yield from first
            if self._state.step == 0 and self._task.measures_first and self._task.evaluates:
                yield Evaluating(0)  # before ranks meet: whoever leaves the loop here is heard there
                self._meet()
                yield self._evaluate_first()
            for work in works:
                ending = self._meet(stop() if taken else False)
                if ending is not Ending.DONE:
                    self._reach(work.step)
                    yield from self._keeping.stop(self._parts, self._state)
                    return ending
                ending = yield from self._take(work)
                if ending is not Ending.DONE:
                    self._meet()
                    return ending
                taken = True
                if is_over(self._state, self._train):
                    break
            self._meet()
        except _SomebodyLeft:
            return Ending.LEFT
        except GeneratorExit:
            self._parts.ranks.max(Ending.LEFT)
            raise
        return Ending.DONE

    def go_back(self) -> None:
        """Return to the newest whole checkpoint, or to the beginning, and leave out the text that led astray.

        Raises NumericsError if the run has gone back there too often.
        """
        bad, known = self._bad_step, self._state.left_out
        state = restore(self._keeping.go_back(), self._parts)
        if state is None:
            state = self._beginning
            self._use(begin_again(self._parts))
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
        self._keeping.take_up(state.step)

    def end(self) -> Iterator[Event]:
        """Leave the best weights in the model folder."""
        try:
            best = yield from self._keeping.end(self._parts, self._state)
            self._state = replace(self._state, best=best)
        except GeneratorExit:
            self._parts.ranks.barrier()
            raise
        self._parts.ranks.barrier()

    def close(self) -> None:
        """Finish the checkpoint that is being written."""
        self._keeping.close()

    def finished(self, seconds: float, ending: Ending) -> Finished:
        """The event that ends the run."""
        return finished(self._run_dir, self._task, self._state, seconds, stopped=ending is not Ending.DONE)

    def _meet(self, stop: bool = False) -> Ending:
        """Hear whether any rank was asked to stop. Raises _SomebodyLeft if one has left."""
        ending = Ending(self._parts.ranks.max(Ending.STOPPED if stop else Ending.DONE))
        if ending is Ending.LEFT:
            raise _SomebodyLeft
        return ending

    def _use(self, parts: Parts) -> None:
        """Take the steps with these."""
        self._parts, self._task, self._recipe = parts, parts.task, parts.task.recipe
        self._train, self._steps = self._recipe.train, self._recipe.train.steps

    def _plan_for(self, steps: int) -> None:
        """Take so many steps in all, at the learning rates of a run that has so many."""
        recipe = self._recipe.with_train(self._train.model_copy(update={"steps": steps}))
        self._use(replace(self._parts, task=self._task.with_recipe(recipe)))
        self._state = replace(self._state, steps=steps, recipe=recipe.fingerprint)
        self._keeping.replanned()

    def _reach(self, step: int) -> None:
        """Have a state to go on from after `step`."""
        self._state = replace(
            self._state,
            step=step,
            watch=self._watch.state(),
            seconds=self._clock.seconds,
            costs=self._clock.costs,
        )

    def _take_up(self, state: State) -> None:
        """Go on from `state`."""
        self._state = state
        if state.steps != self._steps:
            self._plan_for(state.steps)
        self._watch = Watch(self._train.spike, self._train.plateau_after, self._task.baseline)
        if state.watch:
            self._watch.load_state(state.watch)

    def _take(self, work: StepBatches) -> Generator[Event, None, Ending]:
        factor = self._recipe.schedule.at(work.step, self._steps)
        taken = take_step(self._parts, work, factor)
        step = work.step + 1
        yield self._stepped(step, work, taken, factor)
        if taken.problem is not None and self._train.on_nonfinite == "rewind":
            self._bad_step = step
            yield Warned(f"{taken.problem}; the run goes back to its last checkpoint and on with later text")
            return Ending.WENT_BACK
        yield from self._warnings(step, taken)
        yield from self._keeping.news()
        again = self._evaluated_before(step)
        saves = self._train.saves(step, self._steps) and not (again and self._train.save_every is None)
        if self._task.evaluates and self._train.evaluates(step, self._steps) and not again:
            yield Evaluating(step)
            self._meet()
            evaluated = self._evaluate(step)
            yield evaluated
            saves = saves or evaluated.best or is_over(self._state, self._train)
        replanned = self._replanned(step)
        if saves or replanned:
            began = time.perf_counter()
            self._reach(step)
            yield from self._keeping.save(self._parts, self._state)
            self._clock.saved(time.perf_counter() - began)
        self._pace.resume()
        if replanned is not None:
            yield replanned
            return Ending.REPLANNED
        return Ending.DONE

    def _evaluated_before(self, step: int) -> bool:
        """Whether an evaluation was not long ago: planned anew a run has more steps between them, counted from 0."""
        last = self._state.evaluated
        return step < self._steps and last > 0 and 2 * (step - last) < self._train.interval(self._steps)

    def _replanned(self, step: int) -> Replanned | None:
        """Plan for what is left of a time budget, by what steps have taken so far; None where all stays as it is."""
        budget, before = self._train.budget, self._steps
        if budget is None or not reconsiders(step, before) or is_over(self._state, self._train):
            return None
        self._meet()
        left = seconds(budget) - self._clock.seconds
        fitting = corrected(left, step, self._clock.costs, self._train, self._recipe.schedule)
        steps = self._parts.ranks.broadcast_int(fitting or before)
        if steps == before:
            return None
        self._plan_for(steps)
        return Replanned(step, budget, before, steps)

    def _stepped(self, step: int, work: StepBatches, taken: Taken, factor: float) -> Step:
        pace = self._pace.step(work, step, self._train, self._clock.costs.evaluation or 0.0)
        self._clock.stepped(pace.seconds)
        event = Step(
            step=step,
            steps=self._steps,
            loss=taken.loss,
            terms=taken.terms,
            lr=self._recipe.optimizer.lr * factor,
            facts=work.facts,
            tokens_per_second=pace.tokens_per_second,
            fill=work.fill,
            gradient_norm=taken.gradient_norm,
            seconds_left=pace.seconds_left,
            mfu=pace.mfu,
        )
        if self._train.logs(step, self._steps):
            self._keeping.line(event)
        return event

    def _warnings(self, step: int, taken: Taken) -> Iterator[Warned]:
        if taken.problem is not None:
            self._state = replace(self._state, skipped=self._state.skipped + 1)
            yield Warned(f"{taken.problem} ({self._state.skipped} so far)")
        else:
            watched = next(iter(taken.terms.values()))
            for text in self._watch.see(step, watched) if watched is not None else ():
                yield Warned(text)

    def _evaluate_first(self) -> Evaluated:
        """Measure the weights that were given. They are never the best: what is trained is wanted, if only a little."""
        numbers = self._measure()
        self._state = replace(self._state, before=numbers[self._task.criterion.name])
        event = Evaluated(0, numbers, best=False)
        self._keeping.line(event)
        return event

    def _measure(self) -> Numbers:
        return finite_metrics(self._parts.evaluate())

    def _evaluate(self, step: int) -> Evaluated:
        began, criterion, before = time.perf_counter(), self._task.criterion, self._state.best
        numbers = self._measure()
        self._clock.evaluated(time.perf_counter() - began)
        self._state = replace(self._state, evaluated=step)
        value = numbers[criterion.name]
        event = Evaluated(step, numbers, best=criterion.better(value, before.value if before else None))
        if event.best:
            assert value is not None
            self._state = replace(self._state, best=Best(step, value, numbers, self._state.before), since_best=0)
        else:
            self._state = replace(self._state, since_best=self._state.since_best + 1)
        self._keeping.line(event)
        return event


def is_over(state: State, train: TrainSettings) -> bool:
    """Whether the run has nothing left to do: all steps taken, or no better evaluation for too long."""
    return state.step >= train.steps or (train.patience is not None and state.since_best >= train.patience)


def finished(
    run_dir: Path, task: AnyTask, state: State, seconds: float, *, stopped: bool = False, already: bool = False
) -> Finished:
    """The event that ends a run whose newest checkpoint says `state`."""
    best, criterion, model = state.best, task.criterion, run_dir / "model"
    return Finished(
        step=state.step,
        steps=task.recipe.train.steps,
        seconds=seconds,
        stopped=stopped,
        best_step=best.step if best else None,
        best_name=criterion.words or criterion.name,
        best_value=best.value if best else None,
        model=model if model.exists() else None,
        already=already,
        before=state.before,
    )
