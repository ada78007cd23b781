"""A run folder: config.toml (all settings), env.json, metrics.jsonl, checkpoints/, model/; and its lock."""

from __future__ import annotations

import json
import os
import platform
from contextlib import AbstractContextManager
from functools import partial
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import Any, Literal

from maskling.errors import CheckpointError, SettingsError
from maskling.files import atomic_write, flush_folder, lock_folder, write_json
from maskling.train.settings import R, RunSettings, read_settings
from maskling.version import __version__


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
        value = json.loads((run_dir / "env.json").read_text(encoding="utf-8"))[name]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
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
