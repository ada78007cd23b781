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
from maskling.train.settings import TrainSettings
from maskling.train.work import Work

# The rest is for what is not measured: a machine that gets busier.
_SHARE = 0.95
_WARM_UP_STEPS = 3
_TIMED_STEPS = 5
_MEASURING_SHARE = 0.03
_MEASURING_SECONDS = 20.0
_EVALUATING_SHARE = 0.15


def plan(
    seconds: float, step_seconds: float, evaluation_seconds: float, save_seconds: float, train: TrainSettings
) -> TrainSettings:
    """The settings with the most steps that fit into `seconds` with their evaluations and checkpoints; at least one.

    Where evaluate_every is left open there are ten evaluations, or fewer where they would take much of the time.
    """
    each = evaluation_seconds + save_seconds
    evaluations = int(min(10, max(1, _EVALUATING_SHARE * seconds / each))) if each else 10
    if train.evaluate_every is not None or evaluations == 10:
        return _with(train, _affordable(seconds, step_seconds, evaluation_seconds, save_seconds, train))
    steps = max(1, int((seconds - evaluations * each) / step_seconds))
    return _with(train, steps).model_copy(update={"evaluate_every": -(-steps // evaluations)})


def _with(train: TrainSettings, steps: int) -> TrainSettings:
    return train.model_copy(update={"steps": steps})


def _affordable(
    seconds: float, step_seconds: float, evaluation_seconds: float, save_seconds: float, train: TrainSettings
) -> int:
    def cost(steps: int) -> float:
        evaluations, saves = train.evaluations(steps), train.most_saves(steps)
        return steps * step_seconds + evaluations * evaluation_seconds + saves * save_seconds

    fits, too_many = 1, max(2, int(seconds / step_seconds) + 2)
    while too_many - fits > 1:
        middle = (fits + too_many) // 2
        fits, too_many = (middle, too_many) if cost(middle) <= seconds else (fits, middle)
    return fits


def planned(
    seconds: float, parts: Parts, work: Callable[[int], Work], scratch: Path, stop: Callable[[], bool]
) -> TrainSettings | None:
    """Measure some steps, an evaluation and a checkpoint, and `plan` for what is left of `seconds`; None on a `stop`.

    The weights of `parts` are put back bit for bit; its optimizer is used up. scratch: a folder to write into, which
    is gone afterwards.
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
    return plan(_SHARE * left, step_seconds, evaluation_seconds, save_seconds, task.recipe.train)


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
