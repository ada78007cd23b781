"""What one optimizer step has to do: its micro-batches on this rank, and the counts of the whole batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maskling.data.batch import Batch
from maskling.data.examples import Examples
from maskling.train.recipe import Recipe
from maskling.train.world import World


@dataclass(frozen=True)
class Work:
    """One step's share of the data.

    step: 0 for the first. batches: this rank's micro-batches. num_predictions, num_pairs, num_tokens (padding not
    counted), fill: over all micro-batches and ranks. numbers: (k,) int64, the examples of the whole step by their
    number in the run, in the order of the rows.
    """

    step: int
    mask_rate: float
    batches: list[Batch]
    num_predictions: int
    num_pairs: int
    num_tokens: int
    fill: float
    numbers: NDArray[np.int64]

    def numbers_of(self, place: int) -> list[int]:
        """The examples of micro-batch `place` (0 for the first), where this rank has all micro-batches."""
        counts = [len(batch.first_positions) for batch in self.batches]
        first = sum(counts[:place])
        return [int(number) for number in self.numbers[first : first + counts[place]]]


def work_of(
    step: int, recipe: Recipe, examples: Examples, world: World, left_out: Sequence[Sequence[int]] = ()
) -> Work:
    """The work of `step`, a function of the recipe, the step, and the text that the run has left out."""
    rate = recipe.masking.rate_at(step / recipe.train.steps)
    whole = examples.step(text_step(step, left_out), recipe.train.batch_size, rate)
    return Work(
        step=step,
        mask_rate=rate,
        batches=[batch for batch in whole.batches(rows_at_once(recipe), world.rank, world.size) if batch.rows],
        num_predictions=whole.num_predictions,
        num_pairs=whole.num_pairs,
        num_tokens=whole.num_tokens,
        fill=whole.num_tokens / (whole.num_rows * recipe.data.seq_length),
        numbers=whole.number,
    )


def text_step(step: int, left_out: Sequence[Sequence[int]]) -> int:
    """Which step's text `step` takes. left_out: as in a checkpoint's state."""
    return step + sum(count for first, count, *_ in left_out if step >= first)


def rows_at_once(recipe: Recipe) -> int:
    """Rows of a micro-batch."""
    return max(1, recipe.system.micro_batch_tokens // recipe.data.seq_length)
