"""What a run tells whoever loops over it: plain values, no tensors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from maskling.objectives.measure import Measured


@dataclass(frozen=True)
class Started:
    """The run is about to take its first step.

    description: device, threads, number type and attention kernel that are really used.
    tokens: of the training split. unigram_entropy: nats, of the training split; a model that has learnt only how
    often each token occurs has about this loss. resumed_from: the step of the checkpoint it goes on from.
    """

    description: str
    parameters: int
    tokens: int
    unigram_entropy: float
    examples_per_epoch: int
    examples_per_step: int
    steps: int
    resumed_from: int | None


@dataclass(frozen=True)
class Step:
    """One optimizer step was taken; losses in nats a prediction, over the whole batch of all ranks.

    step: 1 for the first. tokens_per_second: real tokens, padding not counted. fill: real tokens / positions.
    mfu: floating-point work of the model per second over what the device's matrix products reach, if known.
    """

    step: int
    steps: int
    loss: float
    mlm: float
    pair: float | None
    lr: float
    mask_rate: float
    tokens_per_second: float
    fill: float
    gradient_norm: float
    seconds_left: float
    mfu: float | None = None


@dataclass(frozen=True)
class Evaluated:
    """The validation split was measured after `step` steps, at fixed masks."""

    step: int
    measured: Measured
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
class Finished:
    """The run is over: all steps taken, or stopped by hand with a checkpoint at `step`.

    model: the folder for other programs, if one was written. already: nothing was left to do.
    """

    step: int
    steps: int
    seconds: float
    stopped: bool
    best_step: int | None
    best_loss: float | None
    model: Path | None
    already: bool = False


Event = Started | Step | Evaluated | Saved | Warned | Finished
