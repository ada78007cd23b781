"""What one optimizer step has to do: its micro-batches on this rank, and the counts of the whole batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Work:
    """One step's share of the data.

    step: 0 for the first. batches: this rank's micro-batches, as the task's `terms` takes them. counts: the predictions
    of each term, num_tokens (padding not counted), fill: over all micro-batches and ranks.
    flops_per_token: floating-point operations of training on one token. facts: what else a line about the step says.
    numbers: (k,) int64, the examples of the whole step by their number in the run, in the order of the rows;
    sizes: how many of them each of `batches` has.
    """

    step: int
    batches: list[Any]
    counts: Mapping[str, int]
    num_tokens: int
    fill: float
    flops_per_token: float
    numbers: NDArray[np.int64]
    sizes: list[int]
    facts: Mapping[str, float] = field(default_factory=dict)

    def numbers_of(self, place: int) -> list[int]:
        """The examples of micro-batch `place` (0 for the first), where this rank has all micro-batches."""
        first = sum(self.sizes[:place])
        return [int(number) for number in self.numbers[first : first + self.sizes[place]]]


def text_step(step: int, left_out: Sequence[Sequence[int]]) -> int:
    """Which step's text `step` takes. left_out: as in a checkpoint's state."""
    return step + sum(count for first, count, *_ in left_out if step >= first)
