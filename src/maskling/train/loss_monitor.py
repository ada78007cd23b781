"""What a person watching the loss would notice: spikes, and a plateau where guessing by frequencies stands.

A running mean and variance of the loss, both exponential. All of its memory is four numbers, which a checkpoint keeps,
so a resumed run warns where an uninterrupted one would.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from maskling.train.task import Baseline

_MEMORY = 0.98  # of the running mean and variance: about the last 50 losses
_SETTLED = 30  # losses before the mean is trusted
_NARROWEST = 0.02  # nats; a loss that hardly varies would call every wobble a spike


@dataclass
class Watch:
    """Sees every loss and returns warnings.

    spike: how many standard deviations above the running mean are a spike, 0 for no warning.
    plateau_after: steps after which a loss at `baseline` or above earns one warning, 0 for none.
    """

    spike: float
    plateau_after: int
    baseline: Baseline | None
    mean: float = 0.0
    variance: float = 0.0
    seen: int = 0
    plateau_said: bool = False

    def see(self, step: int, loss: float) -> list[str]:
        """Take in the loss of `step` (nats a prediction, finite); returns what is worth saying about it."""
        said = [text for text in (self._spike(step, loss), self._plateau(step)) if text]
        width = self._width()
        # A spike moves the mean by no more than the threshold, or one would hide the next.
        loss = min(loss, self.mean + self.spike * width) if self._trusted() and self.spike else loss
        share = max(1 - _MEMORY, 1 / (self.seen + 1))
        off = loss - self.mean
        self.mean += share * off
        self.variance = (1 - share) * (self.variance + share * off * off)
        self.seen += 1
        return said

    def state(self) -> dict[str, float | int | bool]:
        """What a checkpoint has to keep."""
        return {name: getattr(self, name) for name in ("mean", "variance", "seen", "plateau_said")}

    def load_state(self, state: dict[str, float | int | bool]) -> None:
        """Take back what `state` returned."""
        self.mean, self.variance = float(state["mean"]), float(state["variance"])
        self.seen, self.plateau_said = int(state["seen"]), bool(state["plateau_said"])

    def _trusted(self) -> bool:
        return self.seen >= _SETTLED

    def _width(self) -> float:
        return max(math.sqrt(self.variance), _NARROWEST)

    def _spike(self, step: int, loss: float) -> str | None:
        if not self.spike or not self._trusted() or loss <= self.mean + self.spike * self._width():
            return None
        sigmas = (loss - self.mean) / self._width()
        return (
            f"step {step:,}: the loss jumped to {loss:.3f}, {sigmas:.0f} standard deviations above its running mean "
            f"{self.mean:.3f}; if it does not come back, lower optimizer.lr or lengthen schedule.warmup"
        )

    def _plateau(self, step: int) -> str | None:
        baseline = self.baseline
        if baseline is None or self.plateau_said or not self.plateau_after or step < self.plateau_after:
            return None
        if not self._trusted() or self.mean < baseline.loss - 0.1:
            return None
        self.plateau_said = True
        others = f", {baseline.else_causes}" if baseline.else_causes else ""
        return (
            f"step {step:,}: the loss is still {self.mean:.2f}, no better than guessing by {baseline.knows} "
            f"({baseline.loss:.2f}); likely causes: a learning rate too high or too low, too short a warm-up{others}"
        )
