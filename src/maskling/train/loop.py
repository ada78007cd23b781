"""The training loop: steps, evaluations, checkpoints, early stopping and rewinds of one run, on one rank."""

from __future__ import annotations

import contextlib
import enum
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

from maskling.console import counted
from maskling.data.prefetch import prefetch
from maskling.errors import NumericsError
from maskling.train import timing
from maskling.train.checkpoint import State
from maskling.train.engine import Engine
from maskling.train.events import (
    Evaluated,
    Evaluating,
    Event,
    Finished,
    Metrics,
    Replanned,
    Step,
    Warned,
    finite_metrics,
)
from maskling.train.loss_monitor import LossMonitor
from maskling.train.outputs import RunOutputs
from maskling.train.run_folder import write_config
from maskling.train.settings import SystemSettings, TrainSettings
from maskling.train.step import StepResult, take_step
from maskling.train.task import AnyTask, Best, Durations, StepBatches
from maskling.train.timing import RunClock, ThroughputMeter

# How often a run rewinds to one and the same step before it gives up.
_MAX_REWINDS = 3


class Ending(enum.IntEnum):
    """Why the steps ended. Ranks agree on the largest."""

    DONE = 0
    STOPPED = 1
    LEFT = 2
    REWIND = 3
    REPLANNED = 4


class _RankLeft(Exception):  # noqa: N818 - not an error
    """Another rank has left the loop over the events."""


class TrainingLoop:
    """Loop of one run, on one rank.

    The ranks synchronize before each step, before each evaluation, before a time budget is planned again, and after
    the last step (`_sync_ranks`). A rank whose caller leaves the loop over the events announces it in the next of
    these barriers, and takes part in no further one.
    """

    def __init__(
        self, run_dir: Path, engine: Engine, state: State, began: float, requested_system: SystemSettings
    ) -> None:
        """state: of the checkpoint the run resumes from, or of step 0. began: `perf_counter` when the process began.

        requested_system: the [system] section as config.toml shows it, before it was filled in.
        """
        self._run_dir, self._requested_system = run_dir, requested_system
        self._state, self._initial_state = state, state
        self._throughput = ThroughputMeter(engine.compute)
        unknown = Durations(step=0.0, evaluation=None if engine.task.evaluates else 0.0)
        self._clock = RunClock(state.seconds, began, state.costs or unknown)
        self._outputs = RunOutputs(run_dir, engine, state.step)
        self._bad_step = 0
        self._set_engine(engine)
        self._restore_state(state)

    @property
    def engine(self) -> Engine:
        """Engine with its current settings."""
        return self._engine

    @property
    def state(self) -> State:
        """State as the newest checkpoint has it."""
        return self._state

    def run(self, first: Iterable[Event], stop: Callable[[], bool]) -> Generator[Event, None, Ending]:
        """Yield `first`, then take the remaining steps, rewinding if necessary; returns why they ended."""
        try:
            yield from first
            while True:
                ending = yield from self._take_steps(stop)
                if ending is Ending.REWIND:
                    self._rewind()
                elif ending is not Ending.REPLANNED:
                    return ending
                with contextlib.suppress(OSError):  # the checkpoint holds the number of steps, too
                    self.write_config()
        except _RankLeft:
            return Ending.LEFT
        except GeneratorExit:
            self._engine.ranks.max(Ending.LEFT)
            raise

    def finalize(self) -> Iterator[Event]:
        """Export the best weights to the model folder."""
        try:
            best = yield from self._outputs.finalize(self._engine, self._state)
            self._state = replace(self._state, best=best)
        except GeneratorExit:
            self._engine.ranks.barrier()
            raise
        self._engine.ranks.barrier()

    def close(self) -> None:
        """Wait for the checkpoint that is being written."""
        self._outputs.close()

    def finished_event(self, seconds: float, ending: Ending) -> Finished:
        """Return the event that ends the run."""
        return finished_event(self._run_dir, self._task, self._state, seconds, stopped=ending is not Ending.DONE)

    def write_config(self) -> None:
        """Write config.toml, on rank 0, with [system] as it was requested."""
        if self._engine.ranks.is_main:
            write_config(self._run_dir, self._recipe.with_system(self._requested_system))

    def _take_steps(self, stop: Callable[[], bool]) -> Generator[Event, None, Ending]:
        """Take steps from the current state on, until they end or have to begin elsewhere; returns why."""
        taken = False
        with contextlib.closing(self._dataloader()) as dataloader:
            if self._state.step == 0 and self._task.evaluates_initial and self._task.evaluates:
                yield Evaluating(0)  # before ranks synchronize: one that leaves the loop here announces it there
                self._sync_ranks()
                yield self._evaluate_first()
            for batches in dataloader:
                ending = self._sync_ranks(stop() if taken else False)
                if ending is not Ending.DONE:
                    self._record_state(batches.step)
                    yield from self._outputs.save_and_stop(self._engine, self._state)
                    return ending
                ending = yield from self._take_one(batches)
                if ending is not Ending.DONE:
                    self._sync_ranks()
                    return ending
                taken = True
                if is_over(self._state, self._train):
                    break
            self._sync_ranks()
        return Ending.DONE

    def _dataloader(self) -> Generator[StepBatches, None, None]:
        """Prefetch the batches of the remaining steps, collated in a thread or in worker processes."""
        build = self._task.batch_builder(self._engine.ranks, tuple(self._state.left_out))
        steps = range(self._state.step, self._steps)
        loader = prefetch(build, steps, self._recipe.system.workers)
        return cast("Generator[StepBatches, None, None]", loader)

    def _take_one(self, batches: StepBatches) -> Generator[Event, None, Ending]:
        """Take a step, and evaluate and save if they are due."""
        factor = self._recipe.schedule.at(batches.step, self._steps)
        result = take_step(self._engine, batches, factor)
        step = batches.step + 1
        yield self._step_event(step, batches, result, factor)
        if result.problem is not None and self._train.on_nonfinite == "rewind":
            self._bad_step = step
            yield Warned(f"{result.problem}; the run rewinds to its last checkpoint and continues with later text")
            return Ending.REWIND
        yield from self._warnings(step, result)
        yield from self._outputs.poll()
        recent = timing.evaluated_recently(step, self._state, self._train)
        saves = self._train.saves(step, self._steps) and not (recent and self._train.save_every is None)
        if self._task.evaluates and self._train.evaluates(step, self._steps) and not recent:
            yield Evaluating(step)
            self._sync_ranks()
            evaluated = self._evaluate(step)
            yield evaluated
            saves = saves or evaluated.best or is_over(self._state, self._train)
        replanned = self._replan(step)
        if saves or replanned:
            began = time.perf_counter()
            self._record_state(step)
            yield from self._outputs.save(self._engine, self._state)
            self._clock.record_save(time.perf_counter() - began)
        self._throughput.resume()
        if replanned is not None:
            yield replanned
            return Ending.REPLANNED
        return Ending.DONE

    def _sync_ranks(self, stop: bool = False) -> Ending:
        """Wait for all ranks; return STOPPED if any was asked to stop. Raises _RankLeft if one has left the loop."""
        ending = Ending(self._engine.ranks.max(Ending.STOPPED if stop else Ending.DONE))
        if ending is Ending.LEFT:
            raise _RankLeft
        return ending

    def _set_engine(self, engine: Engine) -> None:
        self._engine, self._task, self._recipe = engine, engine.task, engine.recipe
        self._train, self._steps = self._recipe.train, self._recipe.train.steps

    def _set_steps(self, steps: int) -> None:
        """Change the number of steps, and with it the learning-rate schedule."""
        self._set_engine(self._engine.with_train({"steps": steps}))
        self._state = replace(self._state, steps=steps, recipe=self._recipe.fingerprint)
        self._outputs.mark_card_outdated()

    def _record_state(self, step: int) -> None:
        """Update the state to resume from after `step`."""
        self._state = replace(
            self._state,
            step=step,
            watch=self._monitor.state(),
            seconds=self._clock.seconds,
            costs=self._clock.durations,
        )

    def _restore_state(self, state: State) -> None:
        """Continue from `state`."""
        self._state = state
        if state.steps != self._steps:
            self._set_steps(state.steps)
        self._monitor = LossMonitor(self._train.spike, self._train.plateau_after, self._task.baseline)
        if state.watch:
            self._monitor.load_state(state.watch)

    def _rewind(self) -> None:
        """Return to the newest whole checkpoint, or to the start, and leave out the text since then.

        Raises NumericsError if the run has rewound there too often.
        """
        bad, known = self._bad_step, self._state.left_out
        state = self._engine.load_checkpoint(self._outputs.newest_checkpoint())
        if state is None:
            state = self._initial_state
            self._set_engine(self._engine.reset())
        first = state.step
        before = next(((count, times) for step, count, times in known if step == first), (0, 0))
        count, times = before[0] + bad - first, before[1] + 1
        if times > _MAX_REWINDS:
            raise NumericsError(
                f"step {bad:,}: not finite again after rewinding to step {first:,} {_MAX_REWINDS} times, each time "
                f"with other text; the text is not the cause, so lower optimizer.lr in a new run"
            )
        kept = [entry for entry in known if entry[0] < first]
        self._restore_state(replace(state, left_out=[*kept, [first, count, times]], compute=self._state.compute))
        self._outputs.restart_at(state.step)

    def _replan(self, step: int) -> Replanned | None:
        """Correct the number of steps of a time budget; None if it stays."""
        budget, before = self._train.budget, self._steps
        if budget is None or not timing.reconsiders(step, before) or is_over(self._state, self._train):
            return None
        self._sync_ranks()
        steps = timing.replan(budget, step, self._clock, self._engine)
        if steps == before:
            return None
        self._set_steps(steps)
        return Replanned(step, budget, before, steps)

    def _step_event(self, step: int, batches: StepBatches, result: StepResult, factor: float) -> Step:
        throughput = self._throughput.step(batches, step, self._train, self._clock.durations.evaluation or 0.0)
        self._clock.record_step(throughput.seconds)
        event = Step(
            step=step,
            steps=self._steps,
            loss=result.loss,
            terms=result.terms,
            lr=self._recipe.optimizer.lr * factor,
            facts=batches.facts,
            tokens_per_second=throughput.tokens_per_second,
            fill=batches.fill,
            gradient_norm=result.gradient_norm,
            seconds_left=throughput.seconds_left,
            mfu=throughput.mfu,
        )
        if self._train.logs(step, self._steps):
            self._outputs.log(event)
        return event

    def _warnings(self, step: int, result: StepResult) -> Iterator[Warned]:
        if result.problem is not None:
            self._state = replace(self._state, skipped=self._state.skipped + 1)
            yield Warned(f"{result.problem} ({self._state.skipped} so far)")
        elif result.loss is None:
            self._state = replace(self._state, empty=self._state.empty + 1)
            if _is_power_of_ten(self._state.empty):
                yield Warned(
                    f"step {step:,}: its {self._train.batch_size} rows have nothing to predict, so it changed no "
                    f"weight ({counted(self._state.empty, 'such step')} so far); usual causes: text of unknown tokens "
                    f"only, labels that are all left out, or a small train.batch_size"
                )
        else:
            monitored = next(iter(result.terms.values()))
            for text in self._monitor.observe(step, monitored) if monitored is not None else ():
                yield Warned(text)

    def _evaluate_first(self) -> Evaluated:
        """Evaluate the initial weights. They never count as the best: the run should leave trained ones."""
        metrics = self._measure()
        self._state = replace(self._state, before=metrics[self._task.criterion.name])
        event = Evaluated(0, metrics, best=False)
        self._outputs.log(event)
        self._outputs.log_samples(0, self._engine.samples())
        return event

    def _measure(self) -> Metrics:
        return finite_metrics(self._engine.evaluate())

    def _evaluate(self, step: int) -> Evaluated:
        """Evaluate the weights after `step`, and note whether they are the best so far."""
        began, criterion, before = time.perf_counter(), self._task.criterion, self._state.best
        metrics, samples = self._measure(), self._engine.samples()
        self._clock.record_evaluation(time.perf_counter() - began)
        self._state = replace(self._state, evaluated=step)
        value = metrics[criterion.name]
        event = Evaluated(step, metrics, best=criterion.better(value, before.value if before else None))
        if event.best:
            assert value is not None
            self._state = replace(self._state, best=Best(step, value, metrics, self._state.before), since_best=0)
        else:
            self._state = replace(self._state, since_best=self._state.since_best + 1)
        self._outputs.log(event)
        self._outputs.log_samples(step, samples)
        return event


def is_over(state: State, train: TrainSettings) -> bool:
    """Return whether a run is over: all steps taken, or early stopping after `patience` evaluations without a best."""
    return state.step >= train.steps or (train.patience is not None and state.since_best >= train.patience)


def finished_event(
    run_dir: Path, task: AnyTask, state: State, seconds: float, *, stopped: bool = False, already: bool = False
) -> Finished:
    """Return the event that ends a run. state: of its newest checkpoint."""
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
        empty=state.empty,
    )


def _is_power_of_ten(count: int) -> bool:
    """Return whether a count is 1, 10, 100, ...: a warning for each of many steps would hide everything else."""
    return count > 0 and str(count).strip("0") == "1"
