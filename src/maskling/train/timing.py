"""Time of a run: throughput, durations of its parts over restarts, and time budgets.

A time budget chooses how many steps fit into a time by timing the first few, and corrects the number during the run.
"""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from maskling.model.device import Compute
from maskling.train import checkpoint
from maskling.train.checkpoint import State
from maskling.train.engine import Engine
from maskling.train.schedule import Schedule
from maskling.train.settings import USUAL_EVALUATIONS, R, TrainSettings, same_budget, seconds
from maskling.train.step import take_step
from maskling.train.task import Durations, StepBatches

# The first steps of a process load their kernels, or compile.
WARM_UP_STEPS = 3

# Throughput.

_DECAY = 0.9  # of the running means: about the last ten steps
# Matrix products to find the peak of the device: at most so many, or so long.
_MAX_PRODUCTS = 10
_PRODUCT_SECONDS = 0.3


@dataclass(frozen=True)
class Throughput:
    """seconds: of this step. tokens_per_second: padding not counted, over all ranks. mfu: of one rank, if known."""

    seconds: float
    tokens_per_second: float
    seconds_left: float
    mfu: float | None


class ThroughputMeter:
    """Times steps from the end of one to the end of the next, waiting for data included, anything else excluded."""

    def __init__(self, compute: Compute) -> None:
        self._peak = peak_flops(compute)
        self._step_seconds = self._tokens = 0.0
        self.resume()

    def resume(self) -> None:
        """Exclude the time since the last step."""
        self._since = time.perf_counter()

    def step(self, batches: StepBatches, step: int, train: TrainSettings, evaluation_seconds: float) -> Throughput:
        """Return the throughput after step `step` (1 for the first). evaluation_seconds: duration of an evaluation."""
        now = time.perf_counter()
        took, self._since = max(now - self._since, 1e-9), now
        share = 1 - _DECAY if self._step_seconds else 1.0
        self._step_seconds += share * (took - self._step_seconds)
        self._tokens += share * (batches.num_tokens - self._tokens)
        speed = self._tokens / self._step_seconds
        evaluations = train.num_evaluations(train.steps) - (step - 1) // train.interval(train.steps)
        left = (train.steps - step) * self._step_seconds + evaluations * evaluation_seconds
        return Throughput(took, speed, left, self._utilization(speed * batches.flops_per_token))

    def _utilization(self, flops: float) -> float | None:
        """Return the share of the peak; steps that are faster than the measured peak are the better measurement."""
        if self._peak is None:
            return None
        self._peak = max(self._peak, flops)
        return flops / self._peak


def peak_flops(compute: Compute) -> float | None:
    """Measure the floating-point operations per second of a large matrix product on this device, the best of some.

    None on a CPU: its clock and the programs beside it change from minute to minute, and a measurement at the start,
    while another program ran, made later steps reach 171 % of the "peak".
    """
    if compute.device.type == "cpu":
        return None
    size = 8192
    a = torch.ones(size, size, dtype=compute.dtype, device=compute.device)
    best, begun = float("inf"), time.perf_counter()
    for _ in range(_MAX_PRODUCTS):
        began = time.perf_counter()
        product = a @ a
        float(product[0, 0])  # waits for the device
        best = min(best, time.perf_counter() - began)
        if time.perf_counter() - begun > _PRODUCT_SECONDS:
            break
    return 2.0 * size**3 / best


class RunClock:
    """Time that a run has taken, over restarts, and the durations of its parts.

    The clock continues over a rewind to an earlier checkpoint; the time of a killed process since its last checkpoint
    is lost.
    """

    def __init__(self, seconds_before: float, began: float, durations: Durations) -> None:
        """seconds_before, durations: of the checkpoint to resume from; began: `perf_counter` at the start."""
        self.durations = durations
        self._before, self._began = seconds_before, began
        self._taken = 0

    @property
    def seconds(self) -> float:
        """Seconds that the run has taken."""
        return self._before + time.perf_counter() - self._began

    def record_step(self, seconds: float) -> None:
        """Add the duration of a step to the mean, after the warm-up steps of the process."""
        self._taken += 1
        if self._taken > WARM_UP_STEPS:
            steps = self.durations.steps + 1
            mean = self.durations.step if self.durations.steps else 0.0
            self.durations = replace(self.durations, step=mean + (seconds - mean) / steps, steps=steps)

    def record_evaluation(self, seconds: float) -> None:
        """Record the duration of an evaluation."""
        self.durations = replace(self.durations, evaluation=seconds)

    def record_save(self, seconds: float) -> None:
        """Record the duration of a checkpoint."""
        self.durations = replace(self.durations, save=seconds)


# Time budget: the plan before the first step.

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
    first_seconds = evaluation_seconds if engine.task.evaluates_initial else 0.0
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


# Time budget: the correction during the run.

# A plan is corrected up to this share of the steps, where the usual schedule begins to fall, and if it is so far off.
_LAST_CORRECTION = 0.7
_LEAST_CORRECTION = 0.05
_FEWEST_STEPS = 5


def adopt_plan(recipe: R, saved: R | None, state: State | None) -> R:
    """Return the recipe with the plan that an earlier start of the same run made for the same time budget.

    saved: the recipe in the folder; state: of the checkpoint to resume from, which may have been replanned.
    """
    if saved is None or not same_budget(saved.train.budget, recipe.train.budget):
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
