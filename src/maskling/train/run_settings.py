"""What the settings of every run share, whatever it trains: how they are written, and when two are the same run."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

import tomli_w

from maskling.config import Settings, flatten, load_toml, resolve
from maskling.files import fingerprint
from maskling.train.settings import SystemSettings, TrainSettings

if TYPE_CHECKING:
    from maskling.train.optimizer import Strategy
    from maskling.train.schedule import Schedule

# Where a run lives, what it is watched with and how fast it goes: none of it changes the weights it ends with.
_NOT_THE_RESULT = {
    "": {"system"},
    "train": {"budget", "save_every", "keep", "log_every", "on_nonfinite", "on_full_disk", "spike", "plateau_after"},
}


class RunSettings(Settings, ABC):
    """All settings of a run. Each kind of run adds sections of its own, and says in which order they are written."""

    not_the_result: ClassVar[Mapping[str, set[str]]] = {}
    """By section ('' for none), the settings of this kind of run that do not change the weights it ends with."""

    if TYPE_CHECKING:
        # Every kind of run has these fields; they are declared where their place in the file is.
        @property
        def seed(self) -> int: ...
        @property
        def optimizer(self) -> Strategy: ...
        @property
        def schedule(self) -> Schedule: ...
        @property
        def train(self) -> TrainSettings: ...
        @property
        def system(self) -> SystemSettings: ...

    def to_toml(self) -> str:
        """All of it as a settings file; read back, it is the same."""
        return tomli_w.dumps(_without_none(self.model_dump(mode="json")))

    @property
    def fingerprint(self) -> str:
        """Two runs with one fingerprint, on the same data, end with the same weights.

        But for rounding, and for a time budget that was planned anew on the way.
        """
        return fingerprint(self.decisive())

    def decisive(self) -> dict[str, Any]:
        """What changes the result, flat: 'masking.rate' -> 0.15."""
        tree = self.model_dump(mode="json")
        for known in (_NOT_THE_RESULT, self.not_the_result):
            for section, names in known.items():
                part = tree[section] if section else tree
                for name in names:
                    part.pop(name)
        return flatten(tree)

    def differences(self, other: Self) -> list[tuple[str, Any, Any]]:
        """What changes the result and differs: (dotted path, value here, value there)."""
        here, there = self.decisive(), other.decisive()
        missing = "absent"
        return [
            (path, here.get(path, missing), there.get(path, missing))
            for path in {**here, **there}
            if here.get(path, missing) != there.get(path, missing)
        ]

    def onward(self, model: Path) -> str:
        """How a person begins a new run from a model of this one."""
        return f"--init {model} --out NEW"

    def with_train(self, train: TrainSettings) -> Self:
        """The same with another [train] section."""
        return self.model_copy(update={"train": train})

    def with_system(self, system: SystemSettings) -> Self:
        """The same with another [system] section."""
        return self.model_copy(update={"system": system})


R = TypeVar("R", bound=RunSettings)


def read_settings(run_dir: Path, kind: type[R]) -> R:
    """The settings that a run wrote into its folder. Raises SettingsError if there are none or they are damaged."""
    return resolve(kind, [load_toml(run_dir / "config.toml")]).settings


def _without_none(tree: dict[str, Any]) -> dict[str, Any]:
    """TOML has no null; settings read the text 'none' as None."""
    return {
        key: _without_none(value) if isinstance(value, dict) else "none" if value is None else value
        for key, value in tree.items()
    }
