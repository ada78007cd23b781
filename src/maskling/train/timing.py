"""What the time of a run goes into, kept over its stops."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import torch

from maskling.model.device import Compute
from maskling.train.settings import TrainSettings
from maskling.train.task import StepBatches

# FOLDED DOCS
# [speed] How fast a run goes, in real tokens, and how long it will take.


# The first steps of a process find their kernels, or compile.
WARM_UP_STEPS = 3


@dataclass(frozen=True)
class Costs:
    """Seconds that a step takes, an evaluation, and a checkpoint that training waits for; None if that is not known.

    steps: how many steps the first number is the mean of; 0 for those that were measured before the run.
    """

    step: float
    evaluation: float | None = None
    save: float | None = None
    steps: int = 0


class Clock:
    """Tells how long a run has been at work, and what it costs.

    The clock goes on while a run goes back to an earlier checkpoint; what a killed process did since its last one is
    forgotten.
    """

    def __init__(self, before: float, began: float, costs: Costs) -> None:
        """before, costs: of the checkpoint that the run goes on from; began: of this process, by `perf_counter`."""
        self.costs = costs
        self._before, self._began = before, began
        self._taken = 0

    @property
    def seconds(self) -> float:
        """What the run has taken."""
        return self._before + time.perf_counter() - self._began

    def stepped(self, seconds: float) -> None:
        """A step took so long."""
        self._taken += 1
        if self._taken > WARM_UP_STEPS:
            steps = self.costs.steps + 1
            mean = self.costs.step if self.costs.steps else 0.0
            self.costs = replace(self.costs, step=mean + (seconds - mean) / steps, steps=steps)

    def evaluated(self, seconds: float) -> None:
        """An evaluation took so long."""
        self.costs = replace(self.costs, evaluation=seconds)

    def saved(self, seconds: float) -> None:
        """A checkpoint took so long."""
        self.costs = replace(self.costs, save=seconds)


_MEMORY = 0.9  # of the running means: about the last ten steps
# Of the largest matrix product, to see what the device can do: so many times, or so long.
_MOST_PRODUCTS = 10
_PRODUCT_SECONDS = 0.3


@dataclass(frozen=True)
class PaceNow:
    """seconds: of this step. tokens_per_second: padding not counted, over all ranks. mfu: of one rank's device."""

    seconds: float
    tokens_per_second: float
    seconds_left: float
    mfu: float


class Pace:
    """Times steps from the end of one to the end of the next, waiting for data included, all else left out."""

    def __init__(self, compute: Compute) -> None:
        self._peak = peak_flops(compute)
        self._step_seconds = self._tokens = 0.0
        self.resume()

    def resume(self) -> None:
        """The time since the last step was not spent on the next."""
        self._since = time.perf_counter()

    def step(self, work: StepBatches, step: int, train: TrainSettings, evaluation_seconds: float) -> PaceNow:
        """Step `step` (1 for the first) has just been taken. evaluation_seconds: what an evaluation takes."""
        now = time.perf_counter()
        took, self._since = max(now - self._since, 1e-9), now
        share = 1 - _MEMORY if self._step_seconds else 1.0
        self._step_seconds += share * (took - self._step_seconds)
        self._tokens += share * (work.num_tokens - self._tokens)
        speed = self._tokens / self._step_seconds
        evaluations = train.num_evaluations(train.steps) - (step - 1) // train.interval(train.steps)
        left = (train.steps - step) * self._step_seconds + evaluations * evaluation_seconds
        return PaceNow(took, speed, left, speed * work.flops_per_token / self._peak)


def peak_flops(compute: Compute) -> float:
    """Floating-point operations a second of a large matrix product on this device, the best of some.

    Smaller ones do not reach it: on two cores with AMX 1.6 TFLOP/s at 1024 x 1024, 2.9 at 2048 x 2048.
    """
    size = 2048 if compute.device.type == "cpu" else 8192
    a = torch.ones(size, size, dtype=compute.dtype, device=compute.device)
    best, begun = float("inf"), time.perf_counter()
    for _ in range(_MOST_PRODUCTS):
        began = time.perf_counter()
        product = a @ a
        float(product[0, 0])  # waits for the device
        best = min(best, time.perf_counter() - began)
        if time.perf_counter() - begun > _PRODUCT_SECONDS:
            break
    return 2.0 * size**3 / best
