"""What a run will be, told without taking a step or building a model: `maskling train --show`."""

from __future__ import annotations

from maskling.model.memory import PROCESS_BYTES, num_parameters
from maskling.train.events import Started
from maskling.train.fitting import described, resident_bytes
from maskling.train.opening import fitted, machine, opened
from maskling.train.pretraining import Text
from maskling.train.recipe import Recipe
from maskling.train.world import World


def foreseen(recipe: Recipe) -> Started:
    """What `pretrain` would tell before the first step of a new run of this recipe, in one process on this machine.

    Where train.budget is to set the steps they are those of the settings. On a GPU memory is what torch allocates.
    Sets torch's number of threads, as `pretrain` does, and raises what it raises for settings, text, tokenizer and
    model that do not fit together.
    """
    compute = machine(recipe.system)
    text = Text.open(recipe, checks=False)
    task = text.task(text.completed(recipe, None), World())
    model = task.recipe.model
    before = resident_bytes() or 0
    task.supply()
    grown = max(0, (resident_bytes() or 0) - before)
    fit = fitted(task, model, compute, process_bytes=0 if compute.device.type == "cuda" else PROCESS_BYTES + grown)
    return opened(task, fit, described(compute, fit, 1), num_parameters(model))
