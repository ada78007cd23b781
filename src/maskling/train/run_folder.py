"""What a run folder says it is, and whether a command may go on with it.

config.toml (everything resolved), env.json, metrics.jsonl, checkpoints/, model/.
"""

from __future__ import annotations

import json
import os
import platform
from functools import partial
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import Any, Literal

from maskling import __version__
from maskling.errors import CheckpointError, SettingsError
from maskling.files import flush_folder, write_json, written_aside
from maskling.train.checkpoint import State
from maskling.train.lock import only_here
from maskling.train.run_settings import R, RunSettings, read_settings


def write_config(run_dir: Path, recipe: RunSettings) -> None:
    """Write config.toml."""
    with written_aside(run_dir / "config.toml") as file:
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
