"""What a run tells whoever loops over it: plain values, no tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maskling.train.task import Baseline, Numbers


@dataclass(frozen=True)
class Measuring:
    """Steps are taken and forgotten, to find how many fit into `budget`; comes before Started.

    seconds: about how long; an evaluation and a checkpoint follow.
    """

    budget: str
    seconds: float


@dataclass(frozen=True)
class Replanned:
    """After `step` steps the machine is seen to be faster or slower than measured: `steps` fit, not `before`."""

    step: int
    budget: str
    before: int
    steps: int


@dataclass(frozen=True)
class Started:
    """The run is about to take its first step.

    description: device, threads, number type and attention kernel that are really used.
    tokens: of the training text. baseline: the loss of knowing only how often each answer occurs, if that is known.
    resumed_from: the step of the checkpoint it goes on from. memory: bytes it is
    expected to take at the most.
    """

    description: str
    parameters: int
    tokens: int
    baseline: Baseline | None
    examples_per_epoch: int
    examples_per_step: int
    steps: int
    resumed_from: int | None
    memory: int | None = None


@dataclass(frozen=True)
class Step:
    """One optimizer step was taken; losses in nats a prediction, over the whole batch of all ranks.

    step: 1 for the first. loss: the weighted sum of `terms`; a term is None where the batch has nothing for it.
    facts: what the task says beside that (the mask rate). tokens_per_second: real tokens, padding not counted.
    fill: real tokens / positions. mfu: floating-point work of the model per second over what the device's matrix
    products reach, if known.
    """

    step: int
    steps: int
    loss: float
    terms: Mapping[str, float | None]
    lr: float
    facts: Mapping[str, float]
    tokens_per_second: float
    fill: float
    gradient_norm: float
    seconds_left: float
    mfu: float | None = None

    def flat(self) -> dict[str, Any]:
        """One level of names and values: 'mlm' and 'mask_rate' beside 'loss' and 'lr'."""
        flat: dict[str, Any] = {}
        for name, value in vars(self).items():
            flat |= value if isinstance(value, Mapping) else {name: value}
        return flat


@dataclass(frozen=True)
class Evaluating:
    """What was held out is about to be measured after `step` steps, which can take a while.

    source: of labelled records, where they are from.
    """

    step: int
    source: str | None = None


@dataclass(frozen=True)
class Evaluated:
    """What was held out was measured after `step` steps: 0 for the weights that were given to begin with.

    measured: by name; numbers that are none are None.
    """

    step: int
    measured: Numbers
    best: bool


@dataclass(frozen=True)
class Saved:
    """A checkpoint, or the folder for other programs, is whole on disk; told on rank 0.

    A checkpoint is written while training goes on, so this comes some steps after the step it is of.
    stall_seconds: how long training stood still for it; write_seconds: how long the writing took.
    """

    step: int
    path: Path
    stall_seconds: float = 0.0
    write_seconds: float = 0.0


@dataclass(frozen=True)
class Warned:
    """Something a person should know; the run goes on."""

    text: str


@dataclass(frozen=True)
class FinalMetrics:
    """The weights that the run leaves were measured; told on rank 0, at the end.

    step: of the weights. role: 'dev' for the records that chose them, 'test' for those that did not. source, records:
    what was measured on.
    """

    step: int
    role: str
    source: str
    records: int
    measured: Numbers


@dataclass(frozen=True)
class Finished:
    """The run is over: all steps taken, no better for too long, or stopped by hand with a checkpoint at `step`.

    step: 0 if it was stopped while it was measured, with nothing written.
    best_step, best_value: of the best evaluation; best_name: what that number is; before: what it was before the first
    step, where weights were given to begin with.
    model: the folder for other programs, if one was written. already: nothing was left to do. memory: bytes it took at
    the most, on a GPU what torch allocated there.
    """

    step: int
    steps: int
    seconds: float
    stopped: bool
    best_step: int | None
    best_name: str
    best_value: float | None
    model: Path | None
    already: bool = False
    before: float | None = None
    memory: int | None = None


Event = Measuring | Replanned | Started | Step | Evaluating | Evaluated | Saved | Warned | FinalMetrics | Finished
