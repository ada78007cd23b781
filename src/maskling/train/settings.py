"""Settings of every run: its sections besides the strategies, how they are written, and when two runs are the same."""

from __future__ import annotations

import re
from abc import ABC
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeVar

import tomli_w
from pydantic import Field, ValidationError, field_validator, model_validator

from maskling.config import Settings, explain, flatten, load_toml, resolve
from maskling.errors import SettingsError
from maskling.files import ASIDE, fingerprint, url_refusal
from maskling.train.trackers import TrackerName

if TYPE_CHECKING:
    from maskling.train.optimizer import OptimizerSettings
    from maskling.train.schedule import Schedule

# Tokens per micro-batch on a CPU: 1,024 are 0.77 times as fast as 4,096, 8,192 are 1.08 times, more no faster.
MICRO_BATCH_TOKENS = 8192
# Evaluations per run by default.
USUAL_EVALUATIONS = 10


class DataSettings(Settings):
    """The [data] section."""

    path: str = Field("data", description="folder written by 'maskling prepare'")
    seq_length: int = Field(128, ge=8, description="tokens per row, special tokens included")
    verify: bool = Field(True, description="verify the checksum of every file before the first step")


class TrainSettings(Settings):
    """The [train] section, common to every kind of run."""

    steps: int = Field(10_000, ge=1, description="optimizer steps")
    budget: str | None = Field(
        None,
        description="time for the whole run, such as '90s', '4m' or '1h30m'; sets steps by timing the first few, and "
        "corrects them during the run",
    )
    batch_size: int = Field(64, ge=1, description="rows of data.seq_length tokens per step, over all ranks")
    evaluate_every: int | None = Field(
        None, ge=1, description="steps between evaluations; default: ten evaluations per run"
    )
    evaluations: int | None = Field(
        None,
        ge=1,
        description="evaluations per run, instead of evaluate_every; a time budget uses fewer if they are expensive",
    )
    save_every: int | None = Field(
        None, ge=1, description="steps between checkpoints; default: one with each evaluation"
    )
    keep: int = Field(2, ge=1, description="newest checkpoints to keep, besides the best one")
    log_every: int = Field(10, ge=1, description="steps between lines of metrics.jsonl")
    patience: int | None = Field(
        None,
        ge=1,
        description="early stopping: end the run after this many evaluations in a row without a better one; "
        "default: never",
    )
    clip: float | None = Field(
        1.0,
        gt=0,
        description="gradient clipping: maximum gradient norm; larger gradients are scaled down; none: no clipping",
    )
    on_nonfinite: Literal["stop", "skip", "rewind"] = Field(
        "stop",
        description="if a loss or gradient is not finite (NaN): stop, skip the step and count it, or rewind to "
        "the last checkpoint and continue with later text",
    )
    on_full_disk: Literal["stop", "continue"] = Field(
        "stop",
        description="if a checkpoint or a line of metrics cannot be written: stop, or warn and continue training",
    )
    log: TrackerName | None = Field(
        None, description="experiment tracker to log to besides metrics.jsonl: tensorboard, wandb, mlflow or trackio"
    )
    spike: float = Field(
        8.0, ge=0, description="warn of a loss this many standard deviations above its running mean; 0 never warns"
    )
    plateau_after: int = Field(
        1000,
        ge=0,
        description="warn once if the loss after this many steps is no better than guessing by frequency (in "
        "pretraining, the unigram entropy); 0 never warns",
    )

    @field_validator("budget")
    @classmethod
    def _check_budget(cls, value: str | None) -> str | None:
        if value is not None:
            seconds(value)
        return value

    @model_validator(mode="after")
    def _check_evaluations(self) -> Self:
        if self.evaluations is not None and self.evaluate_every is not None:
            raise ValueError("evaluations and evaluate_every both set when to evaluate; leave one of them out")
        return self

    def logs(self, step: int, steps: int) -> bool:
        """Return whether `step` (1 for the first) gets a line in metrics.jsonl."""
        return step == 1 or step == steps or step % self.log_every == 0

    def evaluates(self, step: int, steps: int) -> bool:
        """Return whether an evaluation follows `step`; one always follows the last."""
        return step == steps or step % self.interval(steps) == 0

    def saves(self, step: int, steps: int) -> bool:
        """Return whether a checkpoint follows `step`, whatever an evaluation yields; one always follows the last."""
        return step == steps or step % (self.save_every or self.interval(steps)) == 0

    def num_evaluations(self, steps: int) -> int:
        """Return the number of evaluations of a run of `steps`."""
        return -(-steps // self.interval(steps))

    def interval(self, steps: int) -> int:
        """Return the steps between evaluations in a run of `steps`."""
        return self.evaluate_every or -(-steps // (self.evaluations or USUAL_EVALUATIONS))


class PretrainSettings(TrainSettings):
    """The [train] section of pretraining."""

    epochs: float | None = Field(
        None, gt=0, description="passes over the training text, instead of steps; default: as many as the steps make"
    )
    pair_weight: float = Field(1.0, ge=0, description="weight of the pair loss relative to the masked-token loss")


class EvaluateSettings(Settings):
    """The [evaluate] section: fixed masks for every evaluation of the run, independent of training."""

    rate: float = Field(0.15, gt=0, lt=1, description="fraction of tokens to predict")
    examples: int | None = Field(2000, ge=1, description="validation examples to use; none: all of them")
    samples: int = Field(
        4, ge=0, le=100, description="held-out sentences that each evaluation fills and logs, for the report; 0: none"
    )


class SystemSettings(Settings):
    """The [system] section: settings that change only speed and rounding."""

    device: str = Field("auto", description="auto, cpu, cuda, cuda:1 or mps")
    dtype: Literal["auto", "fp32", "bf16"] = Field(
        "auto",
        description="dtype of matrix products: bf16 trains in mixed precision (autocast); auto uses it if the "
        "hardware does",
    )
    threads: int | None = Field(
        None, ge=1, le=1024, description="threads of torch; default: one per core, or as many as the run began with"
    )
    workers: int = Field(0, ge=0, description="dataloader processes that collate and prefetch batches; 0 uses a thread")
    micro_batch_tokens: int | None = Field(
        None,
        ge=1,
        description="maximum tokens per forward pass; larger batches use gradient accumulation; default: what "
        "fits in memory",
    )
    checkpoint_activations: Literal["auto", "never", "always"] = Field(
        "auto",
        description="activation checkpointing: recompute layers in the backward pass to save memory; auto: if a "
        "step would not fit",
    )
    rank_timeout: float = Field(600.0, gt=0, description="seconds that the ranks of torchrun wait for each other")
    shard: bool = Field(
        False,
        description="shard weights, gradients and optimizer state over ranks (FSDP), for models too large for "
        "one device",
    )
    compile: bool | None = Field(
        None,
        description="compile the encoder, which pays off after about a minute and needs a compiler; default: on GPUs",
    )


_NUMBER = r"([0-9]+(?:\.[0-9]+)?)"
_TIME = re.compile(rf"(?=.)(?:{_NUMBER}h)?\s*(?:{_NUMBER}m(?:in)?)?\s*(?:{_NUMBER}s)?")


def check_budget_unit(budget: str | None) -> None:
    """Raise SettingsError for a time budget without a unit: seconds are hardly ever meant. Old runs may have one."""
    if budget is not None and re.fullmatch(_NUMBER, budget.strip()):
        number = budget.strip()
        raise SettingsError(
            f"train.budget: '{number}' needs a unit: '{number}m' for minutes, '{number}h' for hours, or '{number}s' "
            f"for seconds"
        )


def same_budget(one: str | None, other: str | None) -> bool:
    """Return whether two time budgets are equal, '90' (as in old runs) and '90s' among them; False without one."""
    return one is not None and other is not None and seconds(one) == seconds(other)


def seconds(text: str) -> float:
    """Parse '90', '90s', '4m' or '1h30m' as seconds. Raises ValueError for anything else, and for zero."""
    text = text.strip().lower()
    match = _TIME.fullmatch(f"{text}s" if re.fullmatch(_NUMBER, text) else text)
    if match is None or not (
        total := sum(float(part or 0) * unit for part, unit in zip(match.groups(), (3600, 60, 1), strict=True))
    ):
        raise ValueError("should be a time such as '90s', '4m' or '1h30m'")
    return total


# Location, monitoring and speed of a run: none of it changes the final weights.
_NOT_THE_RESULT = {
    "": {"system"},
    "train": {
        "budget",
        "save_every",
        "keep",
        "log_every",
        "on_nonfinite",
        "on_full_disk",
        "spike",
        "plateau_after",
        "log",
    },
}


class RunSettings(Settings, ABC):
    """All settings of a run. Each kind of run adds its own sections, and declares their order in the file."""

    not_the_result: ClassVar[Mapping[str, set[str]]] = {}
    """By section ('' for none), the settings of this kind of run that do not change the final weights."""

    added: ClassVar[Mapping[str, Any]] = {}
    """Settings that earlier versions did not have, by path, with the value that stands for what those did."""

    if not TYPE_CHECKING:

        def __init__(self, **values: Any) -> None:
            try:
                super().__init__(**values)
            except ValidationError as error:
                raise SettingsError(explain(type(self), error, {})) from None

        # Not a way of its own to validate, which pydantic would otherwise take when it reads JSON or a tree.
        __init__.__pydantic_base_init__ = True

        @classmethod
        def model_validate(cls, obj: Any, **options: Any) -> Self:
            try:
                return super().model_validate(obj, **options)
            except ValidationError as error:
                raise SettingsError(explain(cls, error, {})) from None

    if TYPE_CHECKING:
        # Every kind of run has these fields, and declares them in the order of the file.
        @property
        def seed(self) -> int: ...
        @property
        def optimizer(self) -> OptimizerSettings: ...
        @property
        def schedule(self) -> Schedule: ...
        @property
        def train(self) -> TrainSettings: ...
        @property
        def system(self) -> SystemSettings: ...

    def to_toml(self) -> str:
        """Return all settings as a settings file, which reads back as the same settings."""
        return tomli_w.dumps(_without_none(self.model_dump(mode="json")))

    @property
    def fingerprint(self) -> str:
        """Fingerprint of what decides the result: equal ones, on the same data, end with the same weights.

        Except for rounding, and for a time budget that was replanned during the run.
        """
        return fingerprint(self.decisive())

    def decisive(self) -> dict[str, Any]:
        """Return the settings that change the result, flat: 'masking.rate' -> 0.15."""
        tree = self.model_dump(mode="json")
        for known in (_NOT_THE_RESULT, self.not_the_result):
            for section, names in known.items():
                part = tree[section] if section else tree
                for name in names:
                    part.pop(name)
        flat = flatten(tree)
        return {path: value for path, value in flat.items() if path not in self.added or value != self.added[path]}

    def differences(self, other: Self) -> list[tuple[str, Any, Any]]:
        """Return the settings that change the result and differ: (dotted path, own value, other value)."""
        here, there = self.decisive(), other.decisive()
        missing = "absent"
        return [
            (path, here.get(path, missing), there.get(path, missing))
            for path in {**here, **there}
            if here.get(path, missing) != there.get(path, missing)
        ]

    def onward(self, model: Path) -> str:
        """Return the options that start a new run from a model of this one."""
        return f"--init {model} --out NEW"

    def with_train(self, train: TrainSettings) -> Self:
        """Return a copy with another [train] section."""
        return self.model_copy(update={"train": train})

    def with_system(self, system: SystemSettings) -> Self:
        """Return a copy with another [system] section."""
        return self.model_copy(update={"system": system})


R = TypeVar("R", bound=RunSettings)


def read_settings(run_dir: Path, kind: type[R]) -> R:
    """Read the settings in a run folder. Raises SettingsError if there are none or they are damaged."""
    return resolve(kind, [load_toml(run_dir / "config.toml")]).settings


def _without_none(tree: dict[str, Any]) -> dict[str, Any]:
    """Replace None by the text 'none', which settings read as None: TOML has no null."""
    return {
        key: _without_none(value) if isinstance(value, dict) else "none" if value is None else value
        for key, value in tree.items()
    }


def check_run_folder(out: Path) -> None:
    """Raise SettingsError if `out` is a URL, or holds anything but a run, which a run there would mix with."""
    if (refusal := url_refusal(out)) is not None:
        raise SettingsError(refusal)
    if not out.is_dir() or any((out / name).exists() for name in ("config.toml", "checkpoints", "fold-1")):
        return
    names = [path.name for path in out.iterdir() if path.name != "measuring"]
    if others := sorted(name for name in names if not name.startswith(".") and not name.endswith(ASIDE)):
        raise SettingsError(
            f"{out} holds something other than a run ({others[0]}); give a new or empty folder with --out"
        )
