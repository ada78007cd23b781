"""Reading of run folders for reports: settings, machine, and the metrics journal."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskling.config import flatten, load_toml
from maskling.console import counted
from maskling.errors import CheckpointError
from maskling.files import read_object
from maskling.train.run_status import RunStatus, State, read_status

if TYPE_CHECKING:
    from maskling.train.settings import RunSettings

Entry = dict[str, Any]
# A run of an older version, which has no status.json, counts as running if its log is this recent.
_SILENCE_SECONDS = 120.0


@dataclass(frozen=True)
class LoadedRun:
    """A run to report on.

    facts: names and values for a person; settings: all settings by dotted path; steps, evaluations: entries of the
    metrics journal; unreadable: number of damaged lines in it. samples: held-out sentences as filled at evaluations.
    modified: time of the last line.
    """

    name: str
    facts: list[list[str]]
    settings: dict[str, Any]
    machine: dict[str, Any]
    steps: list[Entry]
    evaluations: list[Entry]
    unreadable: int
    samples: list[Entry] = field(default_factory=list)
    status: RunStatus = field(default_factory=lambda: RunStatus({}, [], 0.0))
    folder: Path = Path()
    modified: float = 0.0

    @property
    def state(self) -> State:
        """State of the run now; of a run of an older version, what its log shows."""
        known = self.status.state
        if known != "unknown":
            return known
        last = self.steps[-1]
        if (number(last, "step") or 0.0) >= (number(last, "steps") or math.inf):
            return "finished"
        return "running" if self.status.silent < _SILENCE_SECONDS else "stopped"

    @property
    def best(self) -> Entry | None:
        """The last evaluation marked as the best so far, None if there is none."""
        return next((entry for entry in reversed(self.evaluations) if entry.get("best")), None)


def read_run(folder: Path) -> LoadedRun:
    """Read a run folder. Raises CheckpointError if it is not one, or if the run has not taken a step."""
    if not (folder / "config.toml").is_file():
        raise CheckpointError(
            f"{folder} is not a run: it has no config.toml; give a folder that train or finetune wrote"
        )
    recipe, facts = read_run_settings(folder)
    entries, unreadable = read_metrics(folder / "metrics.jsonl")
    steps = [entry for entry in entries if entry.get("kind") == "step"]
    if not steps:
        raise CheckpointError(f"{folder} has no metrics yet: its metrics.jsonl has no steps; let it take a few steps")
    return LoadedRun(
        name=folder.resolve().name,
        facts=facts,
        settings=flatten(recipe.model_dump(mode="json")),
        machine=read_object(folder / "env.json"),
        steps=steps,
        evaluations=[entry for entry in entries if entry.get("kind") == "evaluation"],
        unreadable=unreadable,
        samples=[entry for entry in entries if entry.get("kind") == "samples"],
        status=read_status(folder),
        folder=folder,
        modified=_modified(folder / "metrics.jsonl"),
    )


def read_run_settings(folder: Path) -> tuple[RunSettings, list[list[str]]]:
    """Return the settings of a run of any kind, and a summary of them as names and values."""
    from maskling.finetuning.recipe import FinetuneRecipe
    from maskling.train.recipe import read_run_recipe
    from maskling.train.settings import read_settings

    if "task" in load_toml(folder / "config.toml").tree:
        tuned = read_settings(folder, FinetuneRecipe)
        steps, records = counted(tuned.train.steps, "step"), counted(tuned.train.batch_size, "record")
        fresh = ", fresh weights in its shape" if tuned.encoder.fresh else ""
        return tuned, [
            ["task", tuned.task.kind],
            ["model", f"{tuned.encoder.path}{fresh}"],
            ["run", f"{steps} of {records} of at most {tuned.data.max_length} tokens, seed {tuned.seed}"],
            ["data", f"{tuned.data.train}, dev: {tuned.data.dev or 'held out'}, test: {tuned.data.test or 'none'}"],
        ]
    recipe = read_run_recipe(folder)
    steps, batch = counted(recipe.train.steps, "step"), counted(recipe.train.batch_size, "row")
    return recipe, [
        ["model", f"{recipe.model.kind}, {recipe.model.num_layers} layers of {recipe.model.hidden_size}"],
        ["run", f"{steps} of {batch} of {recipe.data.seq_length} tokens, seed {recipe.seed}"],
        ["data", f"{recipe.data.path}, pairs: {recipe.pairing.kind}, masks: {recipe.masking.kind} at {_rate(recipe)}"],
    ]


def read_metrics(path: Path) -> tuple[list[Entry], int]:
    """Return the entries of a metrics journal, and the number of its damaged lines."""
    entries, unreadable = [], 0
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n") if path.is_file() else []
    for line in filter(str.strip, lines):
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            entry = None
        if isinstance(entry, dict):
            entries.append(entry)
        else:
            unreadable += 1
    return entries, unreadable


def number(entry: Entry, name: str) -> float | None:
    """Return a finite number of an entry, or None."""
    value = entry.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _rate(recipe: Any) -> str:
    masking = recipe.masking
    drawn = "" if masking.lowest_rate is None else f"{masking.lowest_rate} to "
    final = "" if masking.final_rate is None else f" falling to {masking.final_rate}"
    return f"{drawn}{masking.rate}{final}"
