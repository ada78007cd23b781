"""Checkpoints: weights, optimizer state and one integer, complete or absent.

A checkpoint is a folder `step-000500/` with `model.safetensors` (weights by our module's names),
`optimizer.safetensors` ('PARAMETER|STATE') and `state.json` (the step, fingerprints of the run, and the checksums of
the other two; written last, it makes the folder whole). Nothing else is needed to resume: data, masks, learning rates
and dropout are functions of the seed and the step.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, astuple, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import TypeAdapter

from maskling.adapters import base_folder, is_adapter
from maskling.errors import CheckpointError
from maskling.files import atomic_folder, checksum, fingerprint, read_json, recover_folder, remove_partial, write_json
from maskling.model.locate import model_folder
from maskling.train.task import Best, Durations

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

FORMAT = 3
_FILES = ("model.safetensors", "optimizer.safetensors")
# A state is less than a kilobyte; this leaves room for a run with a thousand rewinds.
_MAX_STATE_BYTES = 1 << 20
_NAME = re.compile(r"step-(\d+)")


@dataclass(frozen=True)
class State:
    """State of a run besides its tensors, as in state.json.

    step: optimizer steps taken. steps: total number of steps, which a time budget may change. recipe, data, tokenizer:
    fingerprints. init: checksum of the initial weights, if they came from a folder.
    best: best evaluation so far; since_best: evaluations since then, for early stopping. skipped: steps left out
    because a loss or gradient was not finite; empty: steps without anything to predict, which changed no weight.
    left_out: text left out by rewinds: [first step with other text, steps of text before it, number of rewinds to it].
    watch: state of the loss monitor.
    compute: device, kernel and dtype in use. before: see `Best`. evaluated: step of the last evaluation.
    seconds: time that the run has taken, over restarts; costs: durations of its parts.
    """

    step: int
    steps: int
    recipe: str
    data: str
    tokenizer: str
    init: str | None = None
    best: Best | None = None
    since_best: int = 0
    skipped: int = 0
    empty: int = 0
    left_out: list[list[int]] = field(default_factory=list)
    watch: dict[str, float | int | bool] = field(default_factory=dict)
    compute: str = ""
    before: float | None = None
    evaluated: int = 0
    seconds: float = 0.0
    costs: Durations | None = None

    @classmethod
    def of(cls, tree: Mapping[str, Any]) -> Self:
        """Build a state from what `asdict` returned, possibly via JSON. Raises ValueError or TypeError otherwise."""
        cls(**tree)  # pydantic would ignore unknown keys
        return TypeAdapter(cls).validate_json(json.dumps(tree), strict=True)


@dataclass(frozen=True)
class Snapshot:
    """Copy in memory of what a checkpoint holds, unaffected by the next step."""

    model: dict[str, Tensor]
    optimizer_state: dict[str, Tensor]
    state: State


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint on disk."""

    path: Path
    state: State

    def load(self, module: Module, optimizer_state: bool = True) -> dict[str, Tensor]:
        """Load the weights into `module`; return the optimizer state. Raises CheckpointError if they do not fit."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            weights = load_file(self.path / _FILES[0])
            state = load_file(self.path / _FILES[1]) if optimizer_state else {}
        except (SafetensorError, OSError, ValueError, KeyError) as error:
            raise CheckpointError(f"{self.path} is damaged: {error}; delete it, and the one before is used") from None
        try:
            module.load_state_dict(_unshared(module, weights))
        except RuntimeError as error:
            first = str(error).split("\n\t")[1:2] or [str(error)]
            raise CheckpointError(f"{self.path} holds another model than this run's: {first[0]}") from None
        return state


def snapshot(module: Module, optimizer_state: Mapping[str, Tensor], state: State) -> Snapshot:
    """Copy weights and optimizer state."""
    return Snapshot(_copied(_unique_tensors(module)), _copied(optimizer_state), state)


def save(run_dir: Path, module: Module, optimizer_state: Mapping[str, Tensor], state: State) -> Checkpoint:
    """Write a checkpoint synchronously."""
    return write_checkpoint(run_dir, snapshot(module, optimizer_state, state))


def write_checkpoint(run_dir: Path, snapshot: Snapshot) -> Checkpoint:
    """Write a checkpoint atomically: it appears under its name only when every byte of it is on the disk.

    Raises CheckpointError if it cannot be written; older checkpoints are then unharmed.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    path, state = checkpoint_path(run_dir, snapshot.state.step), snapshot.state
    try:
        with atomic_folder(path) as aside:
            save_file(snapshot.model, aside / _FILES[0])
            save_file(snapshot.optimizer_state, aside / _FILES[1])
            sums = {name: checksum(aside / name) for name in _FILES}
            write_json(aside / "state.json", {"format": FORMAT, **asdict(state), "checksums": sums})
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{path} could not be written: {error}; make room on the disk, and the same command resumes from the "
            f"checkpoint before"
        ) from None
    return Checkpoint(path, state)


def checkpoint_path(run_dir: Path, step: int) -> Path:
    """Return the folder of the checkpoint of `step`; six digits, so that names sort by step up to a million."""
    return run_dir / "checkpoints" / f"step-{step:06d}"


def read_checkpoint(path: Path) -> Checkpoint:
    """Verify a checkpoint and read its state. Raises CheckpointError, naming the file, if it is not complete."""
    try:
        found = read_json(path / "state.json", _MAX_STATE_BYTES)
        if found.pop("format") != FORMAT:
            raise CheckpointError(f"{path} was written by another version of maskling; use that version to resume")
        sums = found.pop("checksums")
        state = _checked(State.of(found), path)
        for name in _FILES:
            if checksum(path / name) != sums[name]:
                raise CheckpointError(f"{path / name} is damaged: its checksum is not the one in state.json")
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} is not whole: {Path(str(error.filename)).name} is missing") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise CheckpointError(f"{path / 'state.json'} is damaged: it is not the state of a checkpoint") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from None
    return Checkpoint(path, state)


def weights_fingerprint(init: str | None, known: str | None = None) -> str | None:
    """Return a checksum of the weights of a folder; None without a folder, `known` if it is gone."""
    if init is None:
        return None
    if not model_folder(init).exists():
        return known
    folder = model_folder(init)
    folders = [folder, base_folder(folder)] if is_adapter(folder) else [folder]
    files = [path for found in folders for path in sorted(found.glob("*")) if path.suffix in (".safetensors", ".bin")]
    return fingerprint([[path.name, checksum(path)] for path in files]) if files else None


def newest_whole(run_dir: Path) -> tuple[Checkpoint | None, list[str]]:
    """Return the newest complete checkpoint, and what is wrong with each newer one.

    Raises CheckpointError if there are checkpoints but none is complete.
    """
    problems: list[str] = []
    for path in _newest_first(run_dir):
        try:
            return read_checkpoint(path), problems
        except CheckpointError as error:
            problems.append(str(error))
    if problems:
        raise CheckpointError(
            f"none of the {len(problems)} checkpoints of {run_dir} is whole ({problems[0]}); "
            f"delete {run_dir} or give another --out to start again"
        )
    return None, []


def remove_partial_checkpoints(run_dir: Path) -> None:
    """Delete what interrupted writes left, and restore what one was about to replace."""
    folder = run_dir / "checkpoints"
    if folder.is_dir():
        remove_partial(folder)
        for old in folder.glob("step-*.old"):
            recover_folder(old.with_suffix(""))
            shutil.rmtree(old, ignore_errors=True)


def prune(run_dir: Path, step: int, keep: int, best_step: int | None) -> None:
    """Delete all but the newest `keep` checkpoints up to `step`, and the best one.

    Later ones are from before a rewind, or before a damaged checkpoint; they are overwritten when their step comes.
    """
    behind = [path for path in _newest_first(run_dir) if _step(path) <= step]
    for path in behind[keep:]:
        if _step(path) != best_step:
            shutil.rmtree(path, ignore_errors=True)


def _checked(state: State, path: Path) -> State:
    """Return the state if its values are possible: anyone may have written it. Raises ValueError otherwise."""
    left_out = all(len(entry) == 3 and min(entry) >= 0 for entry in state.left_out)
    watch = not state.watch or state.watch.keys() == {"mean", "variance", "seen", "plateau_said"}
    elsewhere = _NAME.fullmatch(path.name) is None  # a copy under a name of its own
    counts = [state.step, state.steps - 1, state.since_best, state.skipped, state.empty, state.evaluated, state.seconds]
    if state.costs is not None:
        counts += [value for value in astuple(state.costs) if value is not None]
    if not (elsewhere or state.step == _step(path)) or not (min(counts) >= 0 and left_out and watch):
        raise ValueError("not the state of this checkpoint")
    return state


def _newest_first(run_dir: Path) -> Iterator[Path]:
    folder = run_dir / "checkpoints"
    found = [path for path in folder.iterdir() if _NAME.fullmatch(path.name)] if folder.is_dir() else []
    return iter(sorted(found, key=_step, reverse=True))


def _step(path: Path) -> int:
    match = _NAME.fullmatch(path.name)
    assert match is not None
    return int(match[1])


def _unique_tensors(module: Module) -> dict[str, Tensor]:
    """Return the module's tensors, each once: a tied weight under the first of its names."""
    seen: set[tuple[int, tuple[int, ...]]] = set()
    kept: dict[str, Tensor] = {}
    for name, value in module.state_dict().items():
        key = (value.data_ptr(), tuple(value.shape))
        if value.numel() and key in seen:
            continue
        seen.add(key)
        kept[name] = value
    return kept


def _copied(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    import torch

    return {
        name: value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for name, value in tensors.items()
    }


def _unshared(module: Module, stored: dict[str, Any]) -> dict[str, Any]:
    """Add the second names of tied weights to `stored`."""
    first: dict[tuple[int, tuple[int, ...]], str] = {}
    for name, value in module.state_dict().items():
        key = (value.data_ptr(), tuple(value.shape))
        if value.numel() and first.setdefault(key, name) != name and first[key] in stored:
            stored.setdefault(name, stored[first[key]])
    return stored
