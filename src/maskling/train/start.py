"""Where a run begins: at its first step, or after the newest whole checkpoint. Rank 0 looks, all ranks learn."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Generic

from maskling.errors import DataError
from maskling.train import checkpoint
from maskling.train.checkpoint import Checkpoint, State
from maskling.train.run_folder import adopt_plan, refuse_other_run, written_recipe
from maskling.train.run_settings import R
from maskling.train.task import Material

if TYPE_CHECKING:
    from maskling.train.world import World


@dataclass(frozen=True)
class Start(Generic[R]):
    """What a run goes on with.

    recipe: complete. state: of the checkpoint it goes on from, or of step 0. resumed: whether there is a checkpoint.
    unplanned: whether its time budget has still to choose the steps. warnings: what a person should know.
    newest: the checkpoint, on rank 0 only.
    """

    recipe: R
    state: State
    resumed: bool
    unplanned: bool
    warnings: list[str] = field(default_factory=list)
    newest: Checkpoint | None = None


def find_start(run_dir: Path, recipe: R, material: Material[R]) -> Start[R]:
    """Look into the run folder. Raises CheckpointError if it holds another run than `recipe` asks for."""
    checkpoint.tidy(run_dir)
    newest, problems = checkpoint.newest_whole(run_dir)
    written = written_recipe(run_dir, material.settings)
    asked = material.completed(recipe, written)
    recipe = adopt_plan(asked, written, newest.state if newest else None)
    state = first_state(recipe, material, newest)
    warnings = []
    if newest is not None:
        refuse_other_run(run_dir, written, recipe, material.place, newest.state, state)
        warnings = [f"{problem}; going on from step {newest.state.step:,} instead" for problem in problems]
        state = newest.state
    unplanned = newest is None and recipe.train.budget is not None and recipe is asked
    return Start(recipe, state, newest is not None, unplanned, warnings, newest)


def shared(start: Start[R] | None, world: World, material: Material[R]) -> Start[R]:
    """Rank 0's start, on every rank; the run folder need not be there for the others to see.

    Raises DataError where a rank has opened other data.
    """
    said = start and [start.recipe.model_dump(mode="json"), asdict(start.state), start.resumed, start.unplanned]
    recipe, state, resumed, unplanned = world.share(said)
    if start is None:
        start = Start(material.settings.model_validate(recipe), State.of(state), resumed, unplanned)
    if start.state.data != material.data:
        raise DataError(
            f"{material.place} holds corpus {material.data} for rank {world.rank}, but {start.state.data} for rank 0; "
            f"copy the same data to every machine"
        )
    return start


def first_state(recipe: R, material: Material[R], newest: Checkpoint | None) -> State:
    """The state of step 0. newest: a checkpoint that knows the weights begun from, if their folder is gone since."""
    init = material.origin(recipe, newest.state.init if newest else None)
    return State(0, recipe.train.steps, recipe.fingerprint, material.data, material.tokenizer, init)
