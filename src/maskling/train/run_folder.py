"""A run folder, and the point that a run resumes from: its first step, or the newest complete checkpoint.

The folder holds config.toml (all settings), env.json, metrics.jsonl, checkpoints/ and model/.
"""

from __future__ import annotations

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
from maskling.files import atomic_write, flush_folder, lock_folder, read_json, write_json
from maskling.train import checkpoint
from maskling.train.checkpoint import Checkpoint, State
from maskling.train.settings import R, RunSettings, read_settings, same_budget
from maskling.train.task import TrainingData
from maskling.train.timing import adopt_plan
from maskling.version import __version__

if TYPE_CHECKING:
    from maskling.train.distributed import Ranks


@dataclass(frozen=True)
class ResumePoint(Generic[R]):
    """Start of a run: its first step, or a checkpoint.

    recipe: complete. state: of the checkpoint, or of step 0. resumed: whether there is a checkpoint. needs_plan:
    whether the time budget has yet to decide the number of steps. micro_batch_tokens: as the run used them so far.
    warnings: for the user. checkpoint: on rank 0 only.
    """

    recipe: R
    state: State
    resumed: bool
    needs_plan: bool
    micro_batch_tokens: int | None
    warnings: list[str] = field(default_factory=list)
    checkpoint: Checkpoint | None = None


def find_resume_point(run_dir: Path, recipe: R, data: TrainingData[R], ranks: Ranks) -> ResumePoint[R]:
    """Find what to resume from, on rank 0, and broadcast it; only rank 0 needs to see the run folder.

    Raises CheckpointError if the folder holds another run than `recipe` asks for, DataError if a rank has opened other
    data than rank 0.
    """
    found = _find(run_dir, recipe, data) if ranks.is_main else None
    values = found and [
        found.recipe.model_dump(mode="json"),
        asdict(found.state),
        found.resumed,
        found.needs_plan,
        found.micro_batch_tokens,
    ]
    complete, state, *rest = ranks.broadcast(values)
    if found is None:
        found = ResumePoint(data.settings.model_validate(complete), State.of(state), *rest)
    if found.state.data != data.data:
        raise DataError(
            f"{data.path} holds corpus {data.data} on rank {ranks.rank}, but {found.state.data} on rank 0; copy the "
            f"same data to every machine"
        )
    return found


def _find(run_dir: Path, recipe: R, data: TrainingData[R]) -> ResumePoint[R]:
    checkpoint.remove_partial_checkpoints(run_dir)
    newest, problems = checkpoint.newest_whole(run_dir)
    saved = saved_recipe(run_dir, data.settings)
    complete = data.complete_recipe(recipe, saved)
    planned = adopt_plan(complete, saved, newest.state if newest else None)
    known = newest.state.init if newest else None  # the folder of the initial weights may be gone
    state = State(
        step=0,
        steps=planned.train.steps,
        recipe=planned.fingerprint,
        data=data.data,
        tokenizer=data.tokenizer,
        init=data.initial_weights_id(planned, known),
    )
    warnings = []
    if newest is not None:
        refuse_other_run(run_dir, saved, planned, data.path, newest.state, state)
        warnings = [f"{problem}; resuming from step {newest.state.step:,} instead" for problem in problems]
        state = newest.state
    needs_plan = newest is None and planned.train.budget is not None and planned is complete
    tokens = read_env(run_dir, "micro_batch_tokens")
    return ResumePoint(planned, state, newest is not None, needs_plan, tokens, warnings, newest)


def refuse_other_run(run_dir: Path, saved: R | None, recipe: R, data_path: str, found: State, wanted: State) -> None:
    """Raise CheckpointError, naming both values and the remedy, unless `wanted` continues the run of `found`.

    saved: the recipe in the folder's config.toml; found, wanted: state of its checkpoint, and initial state of a run
    of `recipe` on the data in `path`.
    """
    remedy = "give another --out for a new run, or the old value to resume this one"
    if found.data != wanted.data or found.tokenizer != wanted.tokenizer:
        what = "tokenizer" if found.tokenizer != wanted.tokenizer else "corpus"
        before, now = (found.tokenizer, wanted.tokenizer) if what == "tokenizer" else (found.data, wanted.data)
        raise CheckpointError(
            f"{run_dir} was trained on {what} {before}, but {data_path} holds {what} {now}; "
            f"give the data it began with, or another --out for a new run"
        )
    if found.init != wanted.init:
        raise CheckpointError(
            f"{run_dir} began from {_weights(found.init)}, but this command begins from {_weights(wanted.init)}; "
            f"{remedy}"
        )
    if found.recipe == wanted.recipe:
        return
    differences = saved.differences(recipe) if saved else []
    if saved is not None and same_budget(saved.train.budget, recipe.train.budget):
        differences = [each for each in differences if each[0] != "train.steps"]
    if not differences:
        raise CheckpointError(
            f"{run_dir} holds a run with settings {found.recipe}, but this command asks for {wanted.recipe}; {remedy}"
        )
    path, before, now = differences[0]
    more = ", ".join(f"{path} = {there!r} not {here!r}" for path, here, there in differences[1:4])
    also = f" (and {more}{', ...' if len(differences) > 4 else ''})" if more else ""
    if path == "train.steps" and saved is not None and saved.train.budget is not None:
        raise CheckpointError(
            f"{run_dir} holds a run with train.budget = '{saved.train.budget}', which decides its learning rates; "
            f"give that budget to resume it, or train on in a new run with {recipe.onward(run_dir / 'model')}"
        )
    if path == "train.steps":
        remedy = (
            f"its learning rates were planned for {before:,} steps and cannot be replanned: train on in a new run with "
            f"{recipe.onward(run_dir / 'model')}, or give --train.steps {before} to resume this one"
        )
    raise CheckpointError(
        f"{run_dir} holds a run with {path} = {before!r}, but this command asks for {now!r}{also}; {remedy}"
    )


def _weights(init: str | None) -> str:
    return f"weights {init}" if init else "random weights"


def write_config(run_dir: Path, recipe: RunSettings) -> None:
    """Write config.toml."""
    with atomic_write(run_dir / "config.toml") as file:
        file.write(recipe.to_toml().encode())


def saved_recipe(run_dir: Path, kind: type[R]) -> R | None:
    """Read the recipe in config.toml, None if there is none. Raises CheckpointError if it is damaged."""
    if not (run_dir / "config.toml").exists():
        return None
    try:
        return read_settings(run_dir, kind)
    except (SettingsError, RecursionError) as error:
        raise CheckpointError(
            f"{run_dir / 'config.toml'} cannot be read ({error}); restore it, or give another --out"
        ) from None


def write_env(run_dir: Path, description: str, threads: int, micro_batch_tokens: int | None) -> None:
    """Write env.json: what the results of this run depend on besides its settings."""
    packages = ("torch", "numpy", "tokenizers", "safetensors", "pydantic")
    environment: dict[str, Any] = {
        "maskling": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
        "platform": platform.platform(),
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "threads": threads,
        "micro_batch_tokens": micro_batch_tokens,
        "compute": description,
    }
    write_json(run_dir / "env.json", environment)


def read_env(run_dir: Path, name: Literal["threads", "micro_batch_tokens"]) -> int | None:
    """Read from env.json what the run has used so far if its settings leave it open, None if unknown.

    Another number of threads rounds sums differently; other micro-batches draw other dropout masks.
    """
    try:
        value = read_json(run_dir / "env.json")[name]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return value if type(value) is int and value > 0 else None


def lock_run_folder(run_dir: Path) -> AbstractContextManager[None]:
    """Lock `run_dir` for this process until the block ends. Raises CheckpointError if another process has it."""
    run_dir.mkdir(parents=True, exist_ok=True)
    return lock_folder(
        run_dir,
        CheckpointError,
        lambda holder: (
            f"{run_dir} is being trained by another process ({holder}); wait for it, stop it, or give another --out"
        ),
    )


def set_aside(run_dir: Path) -> Path | None:
    """Rename the run in `run_dir` to the first free name of RUN.1, RUN.2, ...; return its new path.

    Nothing is overwritten or deleted. None if there is no run, or if torchrun only restarts the same command.
    Raises CheckpointError if the run is being trained.
    """
    again = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0
    if again or not any((run_dir / name).exists() for name in ("config.toml", "checkpoints", "model")):
        return None
    with lock_run_folder(run_dir):
        aside = next(path for path in map(partial(_numbered, run_dir), count(1)) if not path.exists())
        run_dir.rename(aside)
    flush_folder(run_dir.parent)
    return aside


def _numbered(run_dir: Path, number: int) -> Path:
    return run_dir.with_name(f"{run_dir.name}.{number}")


def processor_name() -> str:
    """Return the name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
