"""How many steps fit into a time, by measuring the first few and forgetting them."""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from maskling.train import checkpoint
from maskling.train.loop import Parts, take_step
from maskling.train.schedule import Schedule
from maskling.train.settings import USUAL_EVALUATIONS, TrainSettings
from maskling.train.work import Work

# The rest is for what is not measured: a machine that gets busier.
_SHARE = 0.95
_WARM_UP_STEPS = 3
_TIMED_STEPS = 5
_MEASURING_SHARE = 0.03
_MEASURING_SECONDS = 10.0
_EVALUATING_SHARE = 0.15
# A plan is corrected up to this share of the steps, where the usual schedule begins to fall, and if it is so far off.
_LAST_CORRECTION = 0.7
_LEAST_CORRECTION = 0.05


def plan(
    seconds: float, step_seconds: float, evaluation_seconds: float, save_seconds: float, train: TrainSettings
) -> TrainSettings:
    """The settings with the most steps that fit into `seconds` with their evaluations and checkpoints; at least one.

    Where neither evaluate_every nor evaluations is given there are fewer than usual where they would take much of the
    time.
    """
    each = evaluation_seconds + save_seconds
    if train.evaluate_every is None and train.evaluations is None and each:
        afforded = max(1, int(_EVALUATING_SHARE * seconds / each))
        if afforded < USUAL_EVALUATIONS:
            train = train.model_copy(update={"evaluations": afforded})
    steps = _affordable(seconds, 0, step_seconds, evaluation_seconds, save_seconds, train)
    return train.model_copy(update={"steps": steps})


def _affordable(
    seconds: float,
    taken: int,
    step_seconds: float,
    evaluation_seconds: float,
    save_seconds: float,
    train: TrainSettings,
) -> int:
    """The most steps of a run that has `taken` some, so that those to come take no longer than `seconds`."""

    def cost(steps: int) -> float:
        evaluations = train.num_evaluations(steps) - taken // train.interval(steps)
        saves = train.most_saves(steps) if save_seconds else 0
        return (steps - taken) * step_seconds + evaluations * evaluation_seconds + saves * save_seconds

    fits, too_many = taken + 1, taken + max(2, int(seconds / step_seconds) + 2)
    while too_many - fits > 1:
        middle = (fits + too_many) // 2
        fits, too_many = (middle, too_many) if cost(middle) <= seconds else (fits, middle)
    return fits


def planned(
    seconds: float, parts: Parts, work: Callable[[int], Work], scratch: Path, stop: Callable[[], bool]
) -> tuple[TrainSettings, float] | None:
    """Measure some steps, an evaluation and a checkpoint, and `plan` for what is left of `seconds`; None on a `stop`.

    Also returns the seconds of an evaluation. The weights of `parts` are put back bit for bit, its optimizer is used
    up. scratch: a folder to write into, which is gone afterwards.
    """
    began = time.perf_counter()
    before = {name: value.clone() for name, value in parts.module.state_dict().items()}
    durations: list[float] = []
    enough = False
    compiles = bool(parts.task.recipe.system.compile)
    while not enough:
        durations.append(_timed(partial(_take, parts, work, len(durations))))
        if parts.world.highest(stop()):
            return None
        # Ranks time differently, and must take the same steps.
        enough = bool(parts.world.agree(is_enough(durations, seconds, compiles)))
    task, evaluation_seconds = parts.task, 0.0
    if task.evaluates:
        evaluation_seconds = _timed(parts.evaluate)
    # A checkpoint comes with an export, which is read back and compared: about as much again.
    save_seconds = 2 * _timed(lambda: _save(parts, scratch))
    parts.module.load_state_dict(before)
    first_seconds = evaluation_seconds if task.measures_first else 0.0
    left = seconds - (time.perf_counter() - began) - first_seconds
    step_seconds = step_time(durations)
    train = plan(_SHARE * left, step_seconds, evaluation_seconds, save_seconds, task.recipe.train)
    return train, evaluation_seconds


def reconsiders(step: int, steps: int) -> bool:
    """Whether the plan of `steps` is looked at again after `step`: at each tenth of what may still be changed."""
    return step <= _LAST_CORRECTION * steps and step % -(-steps // 10) == 0


def corrected(left: float, step: int, clock: Clock, train: TrainSettings, schedule: Schedule) -> int | None:
    """How many steps the run should have after all; None where the plan is right, or cannot be changed now.

    The few steps that were measured may not be like the others: laptops get hot, and machines busy. left: seconds of
    the budget. step: steps taken. clock: what they took, checkpoints included. A run whose time is over still takes a
    tenth of its steps more, for the learning rate to come down.
    """
    fitting = _affordable(_SHARE * left, step, clock.step_seconds, clock.evaluation_seconds, 0.0, train)
    steps = max(fitting, step + step // 10)
    if schedule.warmup_steps(steps) > step or abs(steps - train.steps) <= _LEAST_CORRECTION * train.steps:
        return None
    return steps


class Clock:
    """The time of a run: over its stops, and what steps and evaluations take of it.

    evaluation_seconds: of the last evaluation. The clock goes on while a run goes back to an earlier checkpoint.
    """

    def __init__(self, before: float, began: float, evaluation_seconds: float) -> None:
        """before: seconds until the checkpoint it goes on from; began: when this process began, by `perf_counter`."""
        self.evaluation_seconds = evaluation_seconds
        self._before, self._began = before, began
        self._first_step = self._evaluating = 0.0
        self._taken = 0

    @property
    def seconds(self) -> float:
        """What the run has taken."""
        return self._before + time.perf_counter() - self._began

    @property
    def step_seconds(self) -> float:
        """Of one step in this process, with what comes between steps but evaluations. There has to have been one."""
        return (time.perf_counter() - self._first_step - self._evaluating) / self._taken

    def start(self) -> None:
        """The next step is about to be taken."""
        self._first_step = self._first_step or time.perf_counter()
        self._taken += 1

    def evaluated(self, seconds: float) -> None:
        """An evaluation took so long."""
        self.evaluation_seconds = seconds
        self._evaluating += seconds


def measuring_time(seconds: float) -> float:
    """About how long the steps of a run of `seconds` are measured, in seconds."""
    return min(_MEASURING_SHARE * seconds, _MEASURING_SECONDS)


def is_enough(durations: Sequence[float], seconds: float, compiles: bool) -> bool:
    """Whether steps that took so long tell how long the others will take. seconds: for the whole run."""
    # The first steps of a compiled encoder are its compiling.
    unlike = _WARM_UP_STEPS if compiles else 0
    steps, took = len(durations), sum(durations)
    if steps > unlike and sum(durations[unlike:]) > seconds / 3:
        return True  # slow steps: a few are better than none
    if steps > _WARM_UP_STEPS and sum(durations[_WARM_UP_STEPS:]) > _MEASURING_SECONDS:
        return True
    return steps >= _WARM_UP_STEPS + _TIMED_STEPS and took >= measuring_time(seconds)


def step_time(durations: Sequence[float]) -> float:
    """Seconds of a step to come."""
    return statistics.median(durations[_WARM_UP_STEPS:] or [min(durations)])


def _take(parts: Parts, work: Callable[[int], Work], step: int) -> None:
    take_step(parts, work(step), parts.task.recipe.schedule.at(1, 1000))


def _save(parts: Parts, scratch: Path) -> None:
    module, moments = parts.in_one_piece(), parts.moments()
    if parts.world.leads:
        nothing = checkpoint.State(step=0, recipe="", data="", tokenizer="")
        checkpoint.save(scratch, module, moments, nothing)
        shutil.rmtree(scratch)


def _timed(do: Callable[[], object]) -> float:
    began = time.perf_counter()
    do()
    return time.perf_counter() - began
