"""What a run folder says it is, and whether a command may go on with it.

config.toml (everything resolved), env.json, metrics.jsonl, checkpoints/, model/.
"""

from __future__ import annotations

import json
import os
import platform
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal

from maskling.errors import CheckpointError, DataError, SettingsError
from maskling.files import atomic_write, flush_folder, lock_folder, write_json
from maskling.train import checkpoint
from maskling.train.checkpoint import Checkpoint, State
from maskling.train.settings import R, RunSettings, read_settings
from maskling.train.task import TrainingData
from maskling.version import __version__

if TYPE_CHECKING:
    from maskling.train.distributed import Ranks

# FOLDED DOCS
# [start] Where a run begins: at its first step, or after the newest whole checkpoint. Rank 0 looks, all ranks learn.
# [lock] One process on a run folder at a time.


def write_config(run_dir: Path, recipe: RunSettings) -> None:
    """Write config.toml."""
    with atomic_write(run_dir / "config.toml") as file:
        file.write(recipe.to_toml().encode())


def write_env(run_dir: Path, description: str, threads: int, micro_batch_tokens: int | None) -> None:
    """Write env.json: what the numbers of this run depend on beside its settings."""
    packages = ("torch", "numpy", "tokenizers", "safetensors", "pydantic")
    environment: dict[str, Any] = {
        "maskling": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "micro_batch_tokens": micro_batch_tokens,
        "compute": description,
    }
    write_json(run_dir / "env.json", environment)


def written_number(run_dir: Path, name: Literal["threads", "micro_batch_tokens"]) -> int | None:
    """What the run has used so far where its settings leave that open, None if it is not known.

    With another number of threads sums are rounded otherwise; with other micro-batches other values are dropped too.
    """
    try:
        number = json.loads((run_dir / "env.json").read_text(encoding="utf-8"))[name]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return number if type(number) is int and number > 0 else None


def written_recipe(run_dir: Path, kind: type[R]) -> R | None:
    """The recipe in the folder's config.toml, None if there is none. Raises CheckpointError if it is damaged."""
    if not (run_dir / "config.toml").exists():
        return None
    try:
        return read_settings(run_dir, kind)
    except (SettingsError, RecursionError) as error:
        raise CheckpointError(
            f"{run_dir / 'config.toml'} cannot be understood ({error}); restore it, or give another --out"
        ) from None


def adopt_plan(recipe: R, written: R | None, state: State | None) -> R:
    """The recipe with the plan that an earlier start of the same run made for the same time budget.

    written: the recipe in the folder; state: of the checkpoint to go on from, which may have been planned anew.
    """
    if recipe.train.budget is None or written is None or written.train.budget != recipe.train.budget:
        return recipe
    plan = {"steps": written.train.steps, "evaluations": recipe.train.evaluations or written.train.evaluations}
    adopted = recipe.with_train(recipe.train.model_copy(update=plan))
    if adopted.differences(written):
        return recipe
    return adopted if state is None else adopted.with_train(adopted.train.model_copy(update={"steps": state.steps}))


def set_aside(run_dir: Path) -> Path | None:
    """Move the run in `run_dir` to the first free name beside it, RUN.1, RUN.2, ...; returns where it is now.

    Nothing is written over or deleted. None if there is no run, or if torchrun only starts the same command again.
    Raises CheckpointError if the run is being trained.
    """
    again = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0
    if again or not any((run_dir / name).exists() for name in ("config.toml", "checkpoints", "model")):
        return None
    with only_here(run_dir):
        aside = next(path for path in map(partial(_numbered, run_dir), count(1)) if not path.exists())
        run_dir.rename(aside)
    flush_folder(run_dir.parent)
    return aside


def _numbered(run_dir: Path, number: int) -> Path:
    return run_dir.with_name(f"{run_dir.name}.{number}")


def refuse_other_run(run_dir: Path, written: R | None, recipe: R, place: str, found: State, asked: State) -> None:
    """Raise CheckpointError, naming both values and the remedy, unless `asked` goes on with what was `found`.

    written: the recipe in the folder's config.toml; found, asked: the state of its checkpoint, and of a run of
    `recipe` on the data at hand, which lies in `place`.
    """
    remedy = "give another --out for a new run, or the old value to go on with this one"
    if found.data != asked.data or found.tokenizer != asked.tokenizer:
        what = "tokenizer" if found.tokenizer != asked.tokenizer else "corpus"
        before, now = (found.tokenizer, asked.tokenizer) if what == "tokenizer" else (found.data, asked.data)
        raise CheckpointError(
            f"{run_dir} was trained on {what} {before}, but {place} holds {what} {now}; "
            f"give the data it began with, or another --out for a new run"
        )
    if found.init != asked.init:
        raise CheckpointError(
            f"{run_dir} began from {_weights(found.init)}, but this command begins from {_weights(asked.init)}; "
            f"{remedy}"
        )
    if found.recipe == asked.recipe:
        return
    differences = written.differences(recipe) if written else []
    if written and written.train.budget is not None and written.train.budget == recipe.train.budget:
        differences = [each for each in differences if each[0] != "train.steps"]
    if not differences:
        raise CheckpointError(
            f"{run_dir} holds a run with settings {found.recipe}, but this command asks for {asked.recipe}; {remedy}"
        )
    path, before, now = differences[0]
    more = ", ".join(f"{path} = {there!r} not {here!r}" for path, here, there in differences[1:4])
    also = f" (and {more}{', ...' if len(differences) > 4 else ''})" if more else ""
    if path == "train.steps" and written is not None and written.train.budget is not None:
        raise CheckpointError(
            f"{run_dir} holds a run with train.budget = '{written.train.budget}', by which its learning rates go; "
            f"give that budget to go on with it, or train on in a new run with {recipe.onward(run_dir / 'model')}"
        )
    if path == "train.steps":
        remedy = (
            f"its learning rates were planned for {before:,} steps and cannot be replanned: train on in a new run with "
            f"{recipe.onward(run_dir / 'model')}, or say --train.steps {before} to go on with this one"
        )
    raise CheckpointError(
        f"{run_dir} holds a run with {path} = {before!r}, but this command asks for {now!r}{also}; {remedy}"
    )


def _weights(init: str | None) -> str:
    return f"weights {init}" if init else "random weights"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


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


def find_start(run_dir: Path, recipe: R, material: TrainingData[R]) -> Start[R]:
    """Look into the run folder. Raises CheckpointError if it holds another run than `recipe` asks for."""
    checkpoint.remove_partial_checkpoints(run_dir)
    newest, problems = checkpoint.newest_whole(run_dir)
    written = written_recipe(run_dir, material.settings)
    asked = material.complete_recipe(recipe, written)
    recipe = adopt_plan(asked, written, newest.state if newest else None)
    state = first_state(recipe, material, newest)
    warnings = []
    if newest is not None:
        refuse_other_run(run_dir, written, recipe, material.place, newest.state, state)
        warnings = [f"{problem}; going on from step {newest.state.step:,} instead" for problem in problems]
        state = newest.state
    unplanned = newest is None and recipe.train.budget is not None and recipe is asked
    return Start(recipe, state, newest is not None, unplanned, warnings, newest)


def shared(start: Start[R] | None, ranks: Ranks, material: TrainingData[R]) -> Start[R]:
    """Rank 0's start, on every rank; the run folder need not be there for the others to see.

    Raises DataError where a rank has opened other data.
    """
    said = start and [start.recipe.model_dump(mode="json"), asdict(start.state), start.resumed, start.unplanned]
    recipe, state, resumed, unplanned = ranks.broadcast(said)
    if start is None:
        start = Start(material.settings.model_validate(recipe), State.of(state), resumed, unplanned)
    if start.state.data != material.data:
        raise DataError(
            f"{material.place} holds corpus {material.data} for rank {ranks.rank}, but {start.state.data} for rank 0; "
            f"copy the same data to every machine"
        )
    return start


def first_state(recipe: R, material: TrainingData[R], newest: Checkpoint | None) -> State:
    """The state of step 0. newest: a checkpoint that knows the weights begun from, if their folder is gone since."""
    init = material.initial_weights_id(recipe, newest.state.init if newest else None)
    return State(0, recipe.train.steps, recipe.fingerprint, material.data, material.tokenizer, init)


def only_here(folder: Path) -> AbstractContextManager[None]:
    """Hold `folder` for this process until the block ends. Raises CheckpointError if another holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    return lock_folder(
        folder,
        CheckpointError,
        lambda holder: (
            f"{folder} is being trained by another process ({holder}); wait for it, stop it, or give another --out"
        ),
    )
