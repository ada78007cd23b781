"""A whole fine-tuning run: `for event in finetune(recipe, run_dir)`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from maskling.finetune.recipe import FinetuneRecipe
from maskling.train.events import Event
from maskling.train.run import run
from maskling.train.task import Material


def finetune(
    recipe: FinetuneRecipe, run_dir: Path, stop: Callable[[], bool] = lambda: False, force_new: bool = False
) -> Iterator[Event]:
    """Fine-tune the model of `recipe.encoder.path` on records, or go on with the run in `run_dir`.

    As `pretrain` in everything: ranks of torchrun, stopping and going on to the same bits, what is raised. At the end
    it tells what was measured (`Judged`) of the best weights, which are in `run_dir/model`.
    """
    return run(recipe, run_dir, open_material, stop, force_new)


def open_material(recipe: FinetuneRecipe, checks: bool) -> Material[FinetuneRecipe]:  # noqa: ARG001
    """What a run is made of. Reading checks every record, whatever is asked for.

    Raises SettingsError, ModelError or DataError.
    """
    return recipe.task.open(recipe)
