"""What a step of pretraining has to do."""

from __future__ import annotations

from maskling.data.examples import Examples
from maskling.model.cost import flops_per_token
from maskling.train.recipe import Recipe
from maskling.train.settings import MICRO_BATCH_TOKENS
from maskling.train.task import LeftOut
from maskling.train.work import Work, text_step
from maskling.train.world import World


def work_of(step: int, recipe: Recipe, examples: Examples, world: World, left_out: LeftOut = ()) -> Work:
    """The work of `step`, a function of the recipe, the step, and the text that the run has left out."""
    rate = recipe.masking.rate_at(step / recipe.train.steps)
    whole = examples.step(text_step(step, left_out), recipe.train.batch_size, rate)
    batches = [batch for batch in whole.batches(rows_at_once(recipe), world.rank, world.size) if batch.rows]
    return Work(
        step=step,
        batches=batches,
        counts={"mlm": whole.num_predictions, "pair": whole.num_pairs},
        num_tokens=whole.num_tokens,
        fill=whole.num_tokens / (whole.num_rows * recipe.data.seq_length),
        flops_per_token=flops_per_token(recipe.model, recipe.data.seq_length, rate),
        numbers=whole.number,
        sizes=[len(batch.first_positions) for batch in batches],
        facts={"mask_rate": rate},
    )


def rows_at_once(recipe: Recipe) -> int:
    """Rows of a micro-batch."""
    return max(1, (recipe.system.micro_batch_tokens or MICRO_BATCH_TOKENS) // recipe.data.seq_length)
