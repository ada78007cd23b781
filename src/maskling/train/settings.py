"""The sections of a recipe that belong to no strategy: what to train on, how long, and on what machine."""

from __future__ import annotations

import re
from abc import ABC
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeVar

import tomli_w
from pydantic import Field, field_validator, model_validator

from maskling.config import Settings, flatten, load_toml, resolve
from maskling.files import fingerprint

if TYPE_CHECKING:
    from maskling.train.optimizer import Strategy
    from maskling.train.schedule import Schedule

# FOLDED DOCS
# [run_settings] What the settings of every run share, whatever it trains: how they are written, and when two are the same run.


# Tokens of a micro-batch on a CPU: 1,024 are 0.77 times as fast as 4,096, 8,192 are 1.08 times, more no faster.
MICRO_BATCH_TOKENS = 8192
# Of a run that does not say how many.
USUAL_EVALUATIONS = 10


class DataSettings(Settings):
    """The [data] section."""

    path: str = Field("data", description="the folder that 'maskling prepare' wrote")
    seq_length: int = Field(128, ge=8, description="tokens in a row, special tokens included")
    verify: bool = Field(True, description="read every byte before the first step and compare it with its checksum")


class TrainSettings(Settings):
    """The [train] section, as every kind of run has it."""

    steps: int = Field(10_000, ge=1, description="optimizer steps")
    budget: str | None = Field(
        None,
        description="time for the whole run, as '90s', '4m' or '1h30m'; sets steps by measuring the first few, and "
        "corrects them on the way",
    )
    batch_size: int = Field(64, ge=1, description="rows of data.seq_length tokens in one step, over all ranks")
    evaluate_every: int | None = Field(None, ge=1, description="steps between evaluations; none is ten a run")
    evaluations: int | None = Field(
        None,
        ge=1,
        description="evaluations of the run, instead of evaluate_every; a budget has fewer where they are dear",
    )
    save_every: int | None = Field(None, ge=1, description="steps between checkpoints; none is with each evaluation")
    keep: int = Field(2, ge=1, description="newest checkpoints to keep, beside the best one")
    log_every: int = Field(10, ge=1, description="steps between lines of metrics.jsonl")
    patience: int | None = Field(
        None, ge=1, description="evaluations in a row without a better one after which the run ends; none never ends it"
    )
    clip: float | None = Field(1.0, gt=0, description="longest gradient; longer ones are scaled down to it")
    on_nonfinite: Literal["stop", "skip", "rewind"] = Field(
        "stop",
        description="when a loss or gradient is no longer a number: stop, leave the step out and count it, or go back "
        "to the last checkpoint and go on with later text",
    )
    on_full_disk: Literal["stop", "continue"] = Field(
        "stop", description="when a checkpoint or a line of metrics cannot be written: stop, or warn and go on training"
    )
    spike: float = Field(8.0, ge=0, description="warn of a loss this many deviations above its mean; 0 never warns")
    plateau_after: int = Field(
        1000,
        ge=0,
        description="warn once if the loss is no better than a guess by frequencies (in pretraining, the unigram "
        "entropy) after so many steps; 0 never warns",
    )

    @field_validator("budget")
    @classmethod
    def _is_a_time(cls, value: str | None) -> str | None:
        if value is not None:
            seconds(value)
        return value

    @model_validator(mode="after")
    def _says_once_when_to_evaluate(self) -> Self:
        if self.evaluations is not None and self.evaluate_every is not None:
            raise ValueError("evaluations and evaluate_every say the same; leave one of them out")
        return self

    def logs(self, step: int, steps: int) -> bool:
        """Whether `step` (1 for the first) gets a line in metrics.jsonl."""
        return step == 1 or step == steps or step % self.log_every == 0

    def evaluates(self, step: int, steps: int) -> bool:
        """Whether an evaluation follows `step`; one always follows the last."""
        return step == steps or step % self.interval(steps) == 0

    def saves(self, step: int, steps: int) -> bool:
        """Whether a checkpoint follows `step`, whatever an evaluation says; one always follows the last."""
        return step == steps or step % (self.save_every or self.interval(steps)) == 0

    def num_evaluations(self, steps: int) -> int:
        """How many evaluations a run of `steps` has."""
        return -(-steps // self.interval(steps))

    def interval(self, steps: int) -> int:
        """Steps between evaluations in a run of `steps`."""
        return self.evaluate_every or -(-steps // (self.evaluations or USUAL_EVALUATIONS))


class PretrainSettings(TrainSettings):
    """The [train] section of pretraining."""

    pair_weight: float = Field(1.0, ge=0, description="weight of the pair loss beside the masked-token loss")


class EvaluateSettings(Settings):
    """The [evaluate] section: the fixed masks that every evaluation of the run uses, whatever training does."""

    rate: float = Field(0.15, gt=0, lt=1, description="fraction of tokens to predict")
    examples: int | None = Field(2000, ge=1, description="validation examples to use; none is all of them")


class SystemSettings(Settings):
    """The [system] section: what changes only speed, and rounding."""

    device: str = Field("auto", description="auto, cpu, cuda, cuda:1 or mps")
    dtype: Literal["auto", "fp32", "bf16"] = Field("auto", description="numbers that matrix products use")
    threads: int | None = Field(
        None, ge=1, description="threads of torch; none is one for each core, or what the run began with"
    )
    workers: int = Field(0, ge=0, description="processes that build batches; 0 is a thread beside the training")
    micro_batch_tokens: int | None = Field(
        None, ge=1, description="most tokens in one forward pass, larger steps accumulate; none is what fits the device"
    )
    checkpoint_activations: Literal["auto", "never", "always"] = Field(
        "auto", description="calculate each layer twice to save memory: auto where a step would not fit otherwise"
    )
    rank_timeout: float = Field(600.0, gt=0, description="seconds that the ranks of a torchrun wait for each other")
    shard: bool = Field(
        False, description="lay weights, gradients and moments in pieces on the ranks; for models too large for each"
    )
    compile: bool | None = Field(
        None, description="compile the encoder, which pays after a minute or so and needs a compiler; none is on GPUs"
    )


_TIME = re.compile(r"(?=.)(?:(\d+(?:\.\d+)?)h)?\s*(?:(\d+(?:\.\d+)?)m(?:in)?)?\s*(?:(\d+(?:\.\d+)?)s?)?")


def seconds(text: str) -> float:
    """'90', '90s', '4m', '1h30m' as seconds. Raises ValueError for anything else, and for no time at all."""
    match = _TIME.fullmatch(text.strip().lower())
    if match is None or not (
        total := sum(float(part or 0) * unit for part, unit in zip(match.groups(), (3600, 60, 1), strict=True))
    ):
        raise ValueError("should be a time such as '90s', '4m' or '1h30m'")
    return total


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
