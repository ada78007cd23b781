"""Time budgets: choose how many steps fit into a time by timing the first few, and correct the number on the way."""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from maskling.train import checkpoint
from maskling.train.checkpoint import State
from maskling.train.engine import Engine
from maskling.train.schedule import Schedule
from maskling.train.settings import USUAL_EVALUATIONS, R, TrainSettings, seconds
from maskling.train.step import take_step
from maskling.train.task import StepBatches
from maskling.train.timing import WARM_UP_STEPS, Durations, RunClock

# The rest is for what is not measured: a machine that gets busier.
_SHARE = 0.95
_TIMED_STEPS = 5
_MEASURING_SHARE = 0.03
_MEASURING_SECONDS = 10.0
_EVALUATING_SHARE = 0.15


def fit_steps(time_left: float, durations: Durations, train: TrainSettings) -> TrainSettings:
    """Return the settings with the most steps that fit into `time_left` seconds with evaluations and checkpoints.

    At least one step. If neither evaluate_every nor evaluations is given, there are fewer evaluations than usual if
    they would take much of the time.
    """
    each = (durations.evaluation or 0.0) + (durations.save or 0.0)
    if train.evaluate_every is None and train.evaluations is None and each:
        afforded = int(min(USUAL_EVALUATIONS, max(1.0, _EVALUATING_SHARE * time_left / each)))
        if afforded < USUAL_EVALUATIONS:
            train = train.model_copy(update={"evaluations": afforded})
    return train.model_copy(update={"steps": _affordable(time_left, 0, durations, train)})


def _affordable(time_left: float, taken: int, durations: Durations, train: TrainSettings) -> int:
    """Return the most steps of a run that has `taken` some, so that the remaining ones fit into `time_left` seconds."""

    def cost(steps: int) -> float:
        def to_come(interval: int | None) -> int:
            return -(-steps // interval) - taken // interval if interval else 0

        evaluations = to_come(train.interval(steps))
        saves = evaluations + to_come(train.save_every)  # if each evaluation is the best so far
        return (
            (steps - taken) * durations.step
            + evaluations * (durations.evaluation or 0.0)
            + saves * (durations.save or 0.0)
        )

    fits, too_many = taken + 1, taken + max(2, int(time_left / durations.step) + 2)
    while too_many - fits > 1:
        middle = (fits + too_many) // 2
        fits, too_many = (middle, too_many) if cost(middle) <= time_left else (fits, middle)
    return fits


def measure_and_plan(
    time_left: float, engine: Engine, scratch: Path, stop: Callable[[], bool]
) -> tuple[Engine, Durations] | None:
    """Time some steps, an evaluation and a checkpoint, and choose the steps that fit into `time_left` seconds.

    Returns the engine for that plan with a fresh optimizer, and the durations; None on a `stop`. The weights are
    restored bit for bit. scratch: a folder to write into, which is deleted afterwards.
    """
    began = time.perf_counter()
    before = {name: value.clone() for name, value in engine.module.state_dict().items()}
    build_batches = engine.task.batch_builder(engine.ranks)
    durations: list[float] = []
    enough = False
    while not enough:
        durations.append(_timed(partial(_take, engine, build_batches, len(durations))))
        if engine.ranks.max(stop()):
            return None
        # Ranks time differently, and must take the same steps.
        done = is_enough(durations, time_left, compiles=bool(engine.recipe.system.compile))
        enough = bool(engine.ranks.broadcast_int(done))
    evaluation_seconds = _timed(engine.evaluate) if engine.task.evaluates else 0.0
    # A checkpoint comes with an export, which is read back and compared: about as much again.
    save_seconds = 2 * _timed(lambda: _save(engine, scratch))
    engine.module.load_state_dict(before)
    first_seconds = evaluation_seconds if engine.task.measures_first else 0.0
    time_left -= time.perf_counter() - began + first_seconds
    measured = Durations(step_time(durations), evaluation_seconds, save_seconds)
    train = fit_steps(_SHARE * time_left, measured, engine.recipe.train)
    plan = engine.ranks.broadcast({"steps": train.steps, "evaluations": train.evaluations})
    return engine.with_train(plan).with_fresh_optimizer(), measured


def measuring_time(budget_seconds: float) -> float:
    """Return about how many seconds the steps of a run of `budget_seconds` are timed."""
    return min(_MEASURING_SHARE * budget_seconds, _MEASURING_SECONDS)


def is_enough(durations: Sequence[float], budget_seconds: float, compiles: bool) -> bool:
    """Return whether the durations of the first steps predict those of a run of `budget_seconds`."""
    # The first steps of a compiled encoder are its compiling.
    unlike = WARM_UP_STEPS if compiles else 0
    steps, took = len(durations), sum(durations)
    if steps > unlike and sum(durations[unlike:]) > budget_seconds / 3:
        return True  # slow steps: a few are better than none
    if steps > WARM_UP_STEPS and sum(durations[WARM_UP_STEPS:]) > _MEASURING_SECONDS:
        return True
    return steps >= WARM_UP_STEPS + _TIMED_STEPS and took >= measuring_time(budget_seconds)


def step_time(durations: Sequence[float]) -> float:
    """Return the expected seconds per step."""
    return statistics.median(durations[WARM_UP_STEPS:] or [min(durations)])


def _take(engine: Engine, build_batches: Callable[[int], StepBatches], step: int) -> None:
    take_step(engine, build_batches(step), engine.recipe.schedule.at(1, 1000))


def _save(engine: Engine, scratch: Path) -> None:
    module, optimizer_state = engine.whole_module(), engine.optimizer_state()
    if engine.ranks.is_main:
        nothing = State(step=0, steps=1, recipe="", data="", tokenizer="")
        checkpoint.save(scratch, module, optimizer_state, nothing)
        shutil.rmtree(scratch)


def _timed(do: Callable[[], object]) -> float:
    began = time.perf_counter()
    do()
    return time.perf_counter() - began


# Correction during the run.

# A plan is corrected up to this share of the steps, where the usual schedule begins to fall, and if it is so far off.
_LAST_CORRECTION = 0.7
_LEAST_CORRECTION = 0.05
_FEWEST_STEPS = 5


def adopt_plan(recipe: R, saved: R | None, state: State | None) -> R:
    """Return the recipe with the plan that an earlier start of the same run made for the same time budget.

    saved: the recipe in the folder; state: of the checkpoint to resume from, which may have been replanned.
    """
    if recipe.train.budget is None or saved is None or saved.train.budget != recipe.train.budget:
        return recipe
    plan = {"steps": saved.train.steps, "evaluations": recipe.train.evaluations or saved.train.evaluations}
    adopted = recipe.with_train(recipe.train.model_copy(update=plan))
    if adopted.differences(saved):
        return recipe
    return adopted if state is None else adopted.with_train(adopted.train.model_copy(update={"steps": state.steps}))


def replan(budget: str, step: int, clock: RunClock, engine: Engine) -> int:
    """Return how many steps the run should have, by the durations of its first `step` steps; equal on every rank."""
    train, schedule = engine.recipe.train, engine.recipe.schedule
    steps = corrected(seconds(budget) - clock.seconds, step, clock.durations, train, schedule)
    return engine.ranks.broadcast_int(steps or train.steps)


def reconsiders(step: int, steps: int) -> bool:
    """Return whether the plan of `steps` is reconsidered after `step`: at each tenth of them, but not near the end."""
    return step <= _LAST_CORRECTION * steps and step % -(-steps // 10) == 0


def corrected(
    time_left: float, step: int, durations: Durations, train: TrainSettings, schedule: Schedule
) -> int | None:
    """Return how many steps the run should have; None if the plan is right, or cannot be changed now.

    The few steps that were timed may not be like the others: laptops get hot, and machines busy. time_left: seconds of
    the budget. step: steps taken. A run whose time is over still takes a tenth of its steps more, for the learning rate
    to decay.
    """
    if durations.steps < _FEWEST_STEPS or durations.evaluation is None or durations.save is None:
        return None
    steps = max(_affordable(_SHARE * time_left, step, durations, train), step + step // 10)
    if schedule.warmup_steps(steps) > step or abs(steps - train.steps) <= _LEAST_CORRECTION * train.steps:
        return None
    return steps


def evaluated_recently(step: int, state: State, train: TrainSettings) -> bool:
    """Return whether the last evaluation was not long ago: a replanned run has a longer interval, counted from 0."""
    last = state.evaluated
    return step < train.steps and last > 0 and 2 * (step - last) < train.interval(train.steps)
