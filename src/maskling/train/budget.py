"""How many steps fit into a time, by measuring the first few and forgetting them."""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from maskling.train import checkpoint
from maskling.train.schedule import Schedule
from maskling.train.settings import USUAL_EVALUATIONS, TrainSettings
from maskling.train.step import Parts, take_step
from maskling.train.task import StepBatches
from maskling.train.timing import WARM_UP_STEPS, Costs

# The rest is for what is not measured: a machine that gets busier.
_SHARE = 0.95
_TIMED_STEPS = 5
_MEASURING_SHARE = 0.03
_MEASURING_SECONDS = 10.0
_EVALUATING_SHARE = 0.15
# A plan is corrected up to this share of the steps, where the usual schedule begins to fall, and if it is so far off.
_LAST_CORRECTION = 0.7
_LEAST_CORRECTION = 0.05
_FEWEST_STEPS = 5


def plan(seconds: float, costs: Costs, train: TrainSettings) -> TrainSettings:
    """The settings with the most steps that fit into `seconds` with their evaluations and checkpoints; at least one.

    Where neither evaluate_every nor evaluations is given there are fewer than usual where they would take much of the
    time.
    """
    each = (costs.evaluation or 0.0) + (costs.save or 0.0)
    if train.evaluate_every is None and train.evaluations is None and each:
        afforded = int(min(USUAL_EVALUATIONS, max(1.0, _EVALUATING_SHARE * seconds / each)))
        if afforded < USUAL_EVALUATIONS:
            train = train.model_copy(update={"evaluations": afforded})
    return train.model_copy(update={"steps": _affordable(seconds, 0, costs, train)})


def _affordable(seconds: float, taken: int, costs: Costs, train: TrainSettings) -> int:
    """The most steps of a run that has `taken` some, so that those to come take no longer than `seconds`."""

    def cost(steps: int) -> float:
        def to_come(interval: int | None) -> int:
            return -(-steps // interval) - taken // interval if interval else 0

        evaluations = to_come(train.interval(steps))
        saves = evaluations + to_come(train.save_every)  # if each evaluation is the best so far
        return (steps - taken) * costs.step + evaluations * (costs.evaluation or 0.0) + saves * (costs.save or 0.0)

    fits, too_many = taken + 1, taken + max(2, int(seconds / costs.step) + 2)
    while too_many - fits > 1:
        middle = (fits + too_many) // 2
        fits, too_many = (middle, too_many) if cost(middle) <= seconds else (fits, middle)
    return fits


def planned(
    seconds: float, parts: Parts, work: Callable[[int], StepBatches], scratch: Path, stop: Callable[[], bool]
) -> tuple[TrainSettings, Costs] | None:
    """Measure some steps, an evaluation and a checkpoint, and `plan` for what is left of `seconds`; None on a `stop`.

    Also returns what was measured. The weights of `parts` are put back bit for bit; its optimizer is used up.
    scratch: a folder to write into, which is gone afterwards.
    """
    began = time.perf_counter()
    before = {name: value.clone() for name, value in parts.module.state_dict().items()}
    durations: list[float] = []
    enough = False
    compiles = bool(parts.task.recipe.system.compile)
    while not enough:
        durations.append(_timed(partial(_take, parts, work, len(durations))))
        if parts.ranks.max(stop()):
            return None
        # Ranks time differently, and must take the same steps.
        enough = bool(parts.ranks.broadcast_int(is_enough(durations, seconds, compiles)))
    task, evaluation_seconds = parts.task, 0.0
    if task.evaluates:
        evaluation_seconds = _timed(parts.evaluate)
    # A checkpoint comes with an export, which is read back and compared: about as much again.
    save_seconds = 2 * _timed(lambda: _save(parts, scratch))
    parts.module.load_state_dict(before)
    first_seconds = evaluation_seconds if task.measures_first else 0.0
    left = seconds - (time.perf_counter() - began) - first_seconds
    costs = Costs(step_time(durations), evaluation_seconds, save_seconds)
    return plan(_SHARE * left, costs, task.recipe.train), costs


def reconsiders(step: int, steps: int) -> bool:
    """Whether the plan of `steps` is looked at again after `step`: at each tenth of them, but not near the end."""
    return step <= _LAST_CORRECTION * steps and step % -(-steps // 10) == 0


def corrected(left: float, step: int, costs: Costs, train: TrainSettings, schedule: Schedule) -> int | None:
    """How many steps the run should have after all; None where the plan is right, or cannot be changed now.

    The few steps that were measured may not be like the others: laptops get hot, and machines busy. left: seconds of
    the budget. step: steps taken. A run whose time is over still takes a tenth of its steps more, for the learning rate
    to come down.
    """
    if costs.steps < _FEWEST_STEPS or costs.evaluation is None or costs.save is None:
        return None
    steps = max(_affordable(_SHARE * left, step, costs, train), step + step // 10)
    if schedule.warmup_steps(steps) > step or abs(steps - train.steps) <= _LEAST_CORRECTION * train.steps:
        return None
    return steps


def measuring_time(seconds: float) -> float:
    """About how long the steps of a run of `seconds` are measured, in seconds."""
    return min(_MEASURING_SHARE * seconds, _MEASURING_SECONDS)


def is_enough(durations: Sequence[float], seconds: float, compiles: bool) -> bool:
    """Whether steps that took so long tell how long the others will take. seconds: for the whole run."""
    # The first steps of a compiled encoder are its compiling.
    unlike = WARM_UP_STEPS if compiles else 0
    steps, took = len(durations), sum(durations)
    if steps > unlike and sum(durations[unlike:]) > seconds / 3:
        return True  # slow steps: a few are better than none
    if steps > WARM_UP_STEPS and sum(durations[WARM_UP_STEPS:]) > _MEASURING_SECONDS:
        return True
    return steps >= WARM_UP_STEPS + _TIMED_STEPS and took >= measuring_time(seconds)


def step_time(durations: Sequence[float]) -> float:
    """Seconds of a step to come."""
    return statistics.median(durations[WARM_UP_STEPS:] or [min(durations)])


def _take(parts: Parts, work: Callable[[int], StepBatches], step: int) -> None:
    take_step(parts, work(step), parts.task.recipe.schedule.at(1, 1000))


def _save(parts: Parts, scratch: Path) -> None:
    module, moments = parts.in_one_piece(), parts.moments()
    if parts.ranks.is_main:
        nothing = checkpoint.State(step=0, steps=1, recipe="", data="", tokenizer="")
        checkpoint.save(scratch, module, moments, nothing)
        shutil.rmtree(scratch)


def _timed(do: Callable[[], object]) -> float:
    began = time.perf_counter()
    do()
    return time.perf_counter() - began
