"""Throughput of a run, and the durations of its parts over restarts."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import torch

from maskling.model.device import Compute
from maskling.train.settings import TrainSettings
from maskling.train.task import StepBatches

# The first steps of a process load their kernels, or compile.
WARM_UP_STEPS = 3


@dataclass(frozen=True)
class Durations:
    """Seconds per step, per evaluation, and per checkpoint that training waits for; None if unknown.

    steps: number of steps that `step` is the mean of; 0 for those timed before the run. Keys in state.json.
    """

    step: float
    evaluation: float | None = None
    save: float | None = None
    steps: int = 0


class RunClock:
    """Time that a run has taken, over restarts, and the durations of its parts.

    The clock continues over a rewind to an earlier checkpoint; the time of a killed process since its last checkpoint
    is lost.
    """

    def __init__(self, seconds_before: float, began: float, durations: Durations) -> None:
        """seconds_before, durations: of the checkpoint that the run resumes from; began: `perf_counter` at the start."""
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


_DECAY = 0.9  # of the running means: about the last ten steps
# Matrix products to find the peak of the device: at most so many, or so long.
_MAX_PRODUCTS = 10
_PRODUCT_SECONDS = 0.3


@dataclass(frozen=True)
class Throughput:
    """seconds: of this step. tokens_per_second: padding not counted, over all ranks. mfu: of one rank's device."""

    seconds: float
    tokens_per_second: float
    seconds_left: float
    mfu: float


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
        return Throughput(took, speed, left, speed * batches.flops_per_token / self._peak)


def peak_flops(compute: Compute) -> float:
    """Measure the floating-point operations per second of a large matrix product on this device, the best of some.

    Smaller ones do not reach it: on two cores with AMX 1.6 TFLOP/s at 1024 x 1024, 2.9 at 2048 x 2048.
    """
    size = 2048 if compute.device.type == "cpu" else 8192
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
