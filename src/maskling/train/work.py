"""What one optimizer step has to do: its micro-batches on this rank, and the counts of the whole batch."""

from __future__ import annotations

from dataclasses import dataclass

from maskling.data.batch import Batch
from maskling.data.examples import Examples
from maskling.train.recipe import Recipe
from maskling.train.world import World


@dataclass(frozen=True)
class Work:
    """One step's share of the data.

    step: 0 for the first. batches: this rank's micro-batches. num_predictions, num_pairs, num_tokens (padding not
    counted), fill: over all micro-batches and ranks. examples: which ones, in words for a person.
    """

    step: int
    mask_rate: float
    batches: list[Batch]
    num_predictions: int
    num_pairs: int
    num_tokens: int
    fill: float
    examples: str


def work_of(step: int, recipe: Recipe, examples: Examples, world: World) -> Work:
    """The work of `step`, a function of the recipe and the step alone."""
    rate = recipe.masking.rate_at(step / recipe.train.steps)
    whole = examples.step(step, recipe.train.batch_size, rate)
    count = examples.examples_per_step(recipe.train.batch_size)
    epoch, place = divmod(step * count, examples.num_examples)
    return Work(
        step=step,
        mask_rate=rate,
        batches=[batch for batch in whole.batches(rows_at_once(recipe), world.rank, world.size) if batch.rows],
        num_predictions=whole.num_predictions,
        num_pairs=whole.num_pairs,
        num_tokens=whole.num_tokens,
        fill=whole.num_tokens / (whole.num_rows * recipe.data.seq_length),
        examples=f"examples {place:,} to {place + count - 1:,} of epoch {epoch} in the order of seed {recipe.seed}",
    )


def rows_at_once(recipe: Recipe) -> int:
    """Rows of a micro-batch."""
    return max(1, recipe.system.micro_batch_tokens // recipe.data.seq_length)
