"""What the time of a run goes into, kept over its stops."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

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
