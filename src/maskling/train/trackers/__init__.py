"""Experiment trackers that a run can log to besides metrics.jsonl: `train.log`, or --log NAME.

Each tracker is one module with a class of this protocol, imported only if it is chosen. A tracker follows the lines of
metrics.jsonl: what it lacks is added when it opens, so it can be switched on for a run that has begun, and what it has
is not logged again, so that resuming repeats no step.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol

from maskling.errors import MissingExtra
from maskling.files import read_object

TrackerName = Literal["tensorboard", "wandb", "mlflow", "trackio"]
# By name: its module, its class, and the package that it needs. The extra has the name of the tracker.
_TRACKERS: Mapping[str, tuple[str, str, str]] = {
    "tensorboard": ("maskling.train.trackers.tensorboard", "TensorBoard", "tensorboard"),
    "wandb": ("maskling.train.trackers.wandb", "WeightsAndBiases", "wandb"),
    "mlflow": ("maskling.train.trackers.mlflow", "MLflow", "mlflow"),
    "trackio": ("maskling.train.trackers.trackio", "Trackio", "trackio"),
}
# Fields of a line that are no metrics.
_NOT_METRICS = ("step", "steps", "kind", "best", "time")


class Tracker(Protocol):
    """An open run of a tracker. id: its name there, saved to continue it.

    rewinds: whether `rewind` discards the metrics of later steps; otherwise they stay, and are not logged again.
    """

    id: str
    rewinds: bool

    def log(self, step: int, values: Mapping[str, float], seconds: float | None) -> None:
        """Log metrics by name. seconds: since the epoch, when they were measured."""

    def rewind(self, step: int) -> None:
        """Discard the metrics after `step`, if it `rewinds`."""

    def close(self) -> None:
        """Write what is pending."""


def check_tracker(name: str | None) -> None:
    """Raise MissingExtra if the package of a tracker is missing."""
    if name is not None and find_spec(_TRACKERS[name][2]) is None:
        raise MissingExtra(_TRACKERS[name][2], name, f"--log {name}")


def metrics_of(line: Mapping[str, Any]) -> dict[str, float]:
    """Return the metrics of a line of metrics.jsonl: 'train/loss' of a step, 'held_out/mlm_loss' of an evaluation."""
    group = {"step": "train", "evaluation": "held_out"}.get(str(line.get("kind")))
    if group is None:
        return {}
    return {
        f"{group}/{name}": float(value)
        for name, value in line.items()
        if name not in _NOT_METRICS
        and isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
    }


class TrackerFollower:
    """Follows metrics.jsonl of a run with one tracker. A tracker that fails is closed, with one warning."""

    def __init__(self, name: str, run_dir: Path, settings: Mapping[str, Any], warn: Callable[[str], None]) -> None:
        check_tracker(name)
        self._name, self._warn = name, warn
        self._path = run_dir / "trackers.json"
        self._tracker: Tracker | None = None
        self._saved = read_object(self._path)
        own = self._saved.get(name)
        known = own if isinstance(own, dict) else {}
        # What was logged so far: the last step, and how many lines of it.
        self._step, self._lines = _count(known.get("step"), -1), _count(known.get("lines"), 0)
        self._repeated = 0  # lines of that step that the run is about to repeat
        module, kind, _ = _TRACKERS[name]
        try:
            made = getattr(import_module(module), kind)
            self._tracker = made(run_dir, settings, known.get("id") if isinstance(known.get("id"), str) else None)
        except Exception as error:
            self._fail(error)

    def restart_at(self, step: int, lines: Iterable[bytes]) -> None:
        """Continue after `step`, whose log has `lines`: log those that the tracker lacks."""
        tracker = self._tracker
        if tracker is None:
            return
        try:
            if tracker.rewinds and self._step > step:
                tracker.rewind(step)
                self._step, self._lines = step, 1 << 30
            seen: dict[int, int] = {}
            for line in lines:
                record = json.loads(line)
                number = int(record["step"])
                seen[number] = seen.get(number, 0) + 1
                if number > self._step or (number == self._step and seen[number] > self._lines):
                    self._log(tracker, record)
            self._repeated = max(0, self._lines - seen.get(self._step, 0))
        except Exception as error:
            self._fail(error)

    def log(self, record: Mapping[str, Any]) -> None:
        """Log a new line, unless the tracker has its step from before the run was resumed."""
        step = int(record["step"])
        if self._tracker is None or step < self._step:
            return
        if step == self._step and self._repeated:
            self._repeated -= 1
            return
        try:
            self._log(self._tracker, record)
        except Exception as error:
            self._fail(error)

    def close(self) -> None:
        """Write what is pending."""
        if self._tracker is not None:
            tracker, self._tracker = self._tracker, None
            try:
                tracker.close()
            except Exception as error:
                self._fail(error)

    def _log(self, tracker: Tracker, record: Mapping[str, Any]) -> None:
        values, step = metrics_of(record), int(record["step"])
        if values:
            time = record.get("time")
            tracker.log(step, values, float(time) if isinstance(time, int | float) else None)
        if step != self._step:
            self._lines = self._repeated = 0
        self._lines += 1
        self._step = step
        self._saved[self._name] = {"id": tracker.id, "step": step, "lines": self._lines}
        # Not flushed to the disk: losing it costs a doubled line at worst, and it is written as often as the log.
        aside = self._path.with_name(f"{self._path.name}.unfinished")
        aside.write_text(json.dumps(self._saved), encoding="utf-8")
        aside.replace(self._path)

    def _fail(self, error: Exception) -> None:
        self._tracker = None
        self._warn(f"{self._name} failed ({type(error).__name__}: {error}); the run continues without it")


def _count(value: Any, otherwise: int) -> int:
    return value if type(value) is int else otherwise
