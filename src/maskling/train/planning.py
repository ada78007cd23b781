"""What a run will be, told without taking a step or building a model: `maskling train --show`."""

from __future__ import annotations

from maskling.model.device import pick
from maskling.model.memory import PROCESS_BYTES, num_parameters
from maskling.train.events import Started
from maskling.train.fitting import described, fit
from maskling.train.pretraining import Text
from maskling.train.recipe import Recipe
from maskling.train.world import World


def foreseen(recipe: Recipe) -> Started:
    """What `pretrain` would tell before the first step of a new run of this recipe, in one process on this machine.

    Where train.budget is to set the steps they are those of the settings. On a GPU memory is what torch allocates.
    Raises what `pretrain` raises for settings, text, tokenizer and model that do not fit together.
    """
    text = Text.open(recipe, checks=False)
    recipe = text.completed(recipe, None)
    task, compute = text.task(recipe, World()), pick(recipe.system.device, recipe.system.dtype)
    fitted = fit(
        recipe.system,
        recipe.model,
        compute,
        row_tokens=task.row_tokens,
        most_rows=recipe.train.batch_size,
        mask_rate=task.mask_rate,
        hidden_moments=recipe.optimizer.hidden_moments,
        process_bytes=0 if compute.device.type == "cuda" else PROCESS_BYTES,
    )
    supply = task.supply()
    return Started(
        description=described(compute, fitted.system, task.row_tokens, 1),
        parameters=num_parameters(recipe.model),
        tokens=supply.tokens,
        baseline=task.baseline,
        examples_per_epoch=supply.examples_per_epoch,
        examples_per_step=supply.examples_per_step,
        steps=recipe.train.steps,
        resumed_from=None,
        memory=fitted.memory.total if fitted.memory else None,
    )
