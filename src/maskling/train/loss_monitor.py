"""Monitor the training loss for spikes, and for a plateau at the loss of guessing by frequency.

Keeps an exponential running mean and variance of the loss. Its state is four numbers, saved in checkpoints, so a
resumed run warns where an uninterrupted one would.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from maskling.train.events import Baseline

_DECAY = 0.98  # of the running mean and variance: about the last 50 losses
_SETTLED = 30  # losses until the mean is reliable
_MIN_DEVIATION = 0.02  # nats; of a loss that hardly varies, every wobble would count as a spike


@dataclass
class LossMonitor:
    """Observes every loss and returns warnings.

    spike: standard deviations above the running mean that make a spike, 0 for no warning.
    plateau_after: steps after which a loss at `baseline` or above gives one warning, 0 for none.
    mean, variance, seen (losses so far), plateau_said (whether it has warned of it): the state; keys in state.json.
    """

    spike: float
    plateau_after: int
    baseline: Baseline | None
    mean: float = 0.0
    variance: float = 0.0
    seen: int = 0
    plateau_said: bool = False

    def observe(self, step: int, loss: float) -> list[str]:
        """Update with the loss of `step` (nats per prediction, finite); return warnings about it."""
        warnings = [text for text in (self._spike(step, loss), self._plateau(step)) if text]
        deviation = self._deviation()
        # A spike moves the mean by no more than the threshold, or one would hide the next.
        loss = min(loss, self.mean + self.spike * deviation) if self._reliable() and self.spike else loss
        share = max(1 - _DECAY, 1 / (self.seen + 1))
        difference = loss - self.mean
        self.mean += share * difference
        self.variance = (1 - share) * (self.variance + share * difference * difference)
        self.seen += 1
        return warnings

    def state(self) -> dict[str, float | int | bool]:
        """Return the state for a checkpoint."""
        return {name: getattr(self, name) for name in ("mean", "variance", "seen", "plateau_said")}

    def load_state(self, state: dict[str, float | int | bool]) -> None:
        """Restore what `state` returned."""
        self.mean, self.variance = float(state["mean"]), float(state["variance"])
        self.seen, self.plateau_said = int(state["seen"]), bool(state["plateau_said"])

    def _reliable(self) -> bool:
        return self.seen >= _SETTLED

    def _deviation(self) -> float:
        return max(math.sqrt(self.variance), _MIN_DEVIATION)

    def _spike(self, step: int, loss: float) -> str | None:
        if not self.spike or not self._reliable() or loss <= self.mean + self.spike * self._deviation():
            return None
        sigmas = (loss - self.mean) / self._deviation()
        return (
            f"step {step:,}: the loss jumped to {loss:.3f}, {sigmas:.0f} standard deviations above its running mean "
            f"{self.mean:.3f}; if it does not come back, lower optimizer.lr or lengthen schedule.warmup"
        )

    def _plateau(self, step: int) -> str | None:
        baseline = self.baseline
        if baseline is None or self.plateau_said or not self.plateau_after or step < self.plateau_after:
            return None
        if not self._reliable() or self.mean < baseline.loss - 0.1:
            return None
        self.plateau_said = True
        others = f", {baseline.else_causes}" if baseline.else_causes else ""
        return (
            f"step {step:,}: the loss is still {self.mean:.2f}, no better than guessing by {baseline.knows} "
            f"({baseline.loss:.2f}); likely causes: a learning rate too high or too low, too short a warm-up{others}"
        )
