"""Learning-rate schedules: the factor on the learning rate as a pure function of the step.

`at(step, steps)` is called before step `step` (0, 1, ..., steps - 1) is taken. Unless stated otherwise warm-up rises
as (step + 1) / (warm-up + 1): the first step is not wasted at zero, the first after warm-up has the full rate.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Literal

from pydantic import Field

from maskling.config import Settings, strategies_by_kind


class Schedule(Settings, ABC):
    """Base class of learning-rate schedules, with linear warm-up."""

    kind: str
    warmup: float = Field(
        0.06, ge=0, description="steps of linear warm-up; below 1 a fraction of all steps, from 1 on a number of steps"
    )

    @abstractmethod
    def at(self, step: int, steps: int) -> float:
        """Return the factor at `step` of `steps`."""

    def warmup_steps(self, steps: int) -> int:
        """Return how many of `steps` are warm-up."""
        return _as_steps(self.warmup, steps)

    def _warming(self, step: int, steps: int) -> float | None:
        warmup = self.warmup_steps(steps)
        return (step + 1) / (warmup + 1) if step < warmup else None

    def _after_warmup(self, step: int, steps: int) -> float:
        """Return the progress after warm-up: 0 at the first step after it, 1 when the last has been taken."""
        warmup = self.warmup_steps(steps)
        return (step - warmup) / max(1, steps - warmup)


class ConstantSchedule(Schedule):
    """Warm up, then stay constant."""

    kind: Literal["constant"] = "constant"

    def at(self, step: int, steps: int) -> float:
        """Return the factor at `step` of `steps`."""
        return self._warming(step, steps) or 1.0


class LinearSchedule(Schedule):
    """Warm up, then decay linearly to `final`, reached just after the last step."""

    kind: Literal["linear"] = "linear"
    final: float = Field(0.0, ge=0, le=1, description="factor at the end")

    def at(self, step: int, steps: int) -> float:
        """Return the factor at `step` of `steps`."""
        return self._warming(step, steps) or 1 - (1 - self.final) * self._after_warmup(step, steps)


class CosineSchedule(Schedule):
    """Warm up, then decay along half a cosine to `final` (Loshchilov and Hutter 2017, SGDR, equation 5, one cycle)."""

    kind: Literal["cosine"] = "cosine"
    final: float = Field(0.1, ge=0, le=1, description="factor at the end")

    def at(self, step: int, steps: int) -> float:
        """Return the factor at `step` of `steps`."""
        warming = self._warming(step, steps)
        if warming is not None:
            return warming
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * self._after_warmup(step, steps))) / 2


class TrapezoidSchedule(Schedule):
    """Warm up, stay constant, and decay over the last part of the run.

    Zhai et al. 2022 (Scaling Vision Transformers, section 3.5) and Hu et al. 2024 (MiniCPM, section 4: WSD).
    The shape 1 - sqrt is Hägele et al. 2024 (section 3.1), which ModernBERT's decay phase took over.
    """

    kind: Literal["trapezoid"] = "trapezoid"
    decay: float = Field(
        0.3, ge=0, description="steps of decay at the end; below 1 a fraction of all steps, from 1 on a number of steps"
    )
    shape: Literal["one-minus-sqrt", "linear"] = Field("one-minus-sqrt", description="shape of the decay")
    final: float = Field(0.0, ge=0, le=1, description="factor at the end")

    def at(self, step: int, steps: int) -> float:
        """Return the factor at `step` of `steps`."""
        warming = self._warming(step, steps)
        if warming is not None:
            return warming
        decay = min(_as_steps(self.decay, steps), steps - self.warmup_steps(steps))
        # Steps of decay behind this one: the first decaying step is already below 1 and the last is above `final`.
        done = max(0, step - (steps - decay) + 1) / (decay + 1)
        fallen = math.sqrt(done) if self.shape == "one-minus-sqrt" else done
        return 1 - (1 - self.final) * fallen


class Bert2018Schedule(Schedule):
    """BERT's own `optimization.py`: linear warm-up from zero, and linear decay to zero counted from step 0.

    So the first step changes nothing, and the rate at the end of warm-up is 1 - warm-up / steps of the given one.
    """

    kind: Literal["bert2018"] = "bert2018"
    warmup: float = Field(
        0.01, ge=0, description="steps of linear warm-up; below 1 a fraction of all steps, from 1 on a number of steps"
    )

    def at(self, step: int, steps: int) -> float:
        """Return the factor at `step` of `steps`."""
        warmup = self.warmup_steps(steps)
        return step / warmup if step < warmup else 1 - step / steps


SCHEDULES: dict[str, type[Schedule]] = strategies_by_kind(
    LinearSchedule, CosineSchedule, TrapezoidSchedule, ConstantSchedule, Bert2018Schedule
)


def _as_steps(amount: float, steps: int) -> int:
    """Convert a fraction of `steps` or a number of steps to a number of steps, at most `steps`."""
    return min(steps, round(amount * steps) if amount < 1 else round(amount))
