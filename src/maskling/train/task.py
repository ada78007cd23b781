"""Interface between the training engine and what it trains.

The engine handles steps, ranks, checkpoints and folders. A `Task` defines the module, its loss, its evaluation and the
folder it leaves; `TrainingData` is what a task is built from, opened and checked before anything else is done.
Pretraining implements one pair of them, each family of fine-tuning another.
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Self, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from maskling.train.events import Baseline, Event, Metrics
from maskling.train.settings import R

if TYPE_CHECKING:
    import torch
    from torch.nn import Module

    from maskling.model.device import Compute
    from maskling.objectives.losses import Encode, Term
    from maskling.train.distributed import Ranks

M = TypeVar("M", bound="Module")
SkippedRanges: TypeAlias = Sequence[Sequence[int]]
"""Text that a run has left out after rewinds, as `State.left_out` in checkpoint.py."""


@dataclass(frozen=True)
class Criterion:
    """Metric that decides which weights are best. higher: whether more is better; words: its name in a message.

    Of equal evaluations the first is the best.
    """

    name: str
    higher: bool = False
    words: str = ""

    def better(self, value: float | None, before: float | None) -> bool:
        """Return whether `value` is better than the best one before; an undefined or non-finite value never is."""
        if value is None or not math.isfinite(value):
            return False
        return before is None or (value > before if self.higher else value < before)


@dataclass(frozen=True)
class DataCounts:
    """Amount of training data. tokens: of the training text. documents, vocabulary: for pretraining."""

    tokens: int
    examples_per_epoch: int
    examples_per_step: int
    documents: int | None = None
    vocabulary: int | None = None


@dataclass(frozen=True)
class Best:
    """Best evaluation so far. value: of the criterion; numbers: all its metrics (keys in state.json).

    before: value of the criterion before the first step, if training began from given weights.
    """

    step: int
    value: float
    numbers: Metrics
    before: float | None = None


@dataclass(frozen=True)
class Durations:
    """Seconds per step, per evaluation, and per checkpoint that training waits for; None if unknown.

    steps: number of steps that `step` is the mean of; 0 for those timed before the run. Keys in state.json.
    """

    step: float
    evaluation: float | None = None
    save: float | None = None
    steps: int = 0


class Task(ABC, Generic[R, M]):
    """Module, loss, evaluation and output of a run with complete settings. Each rank has its own instance.

    recipe: the settings. row_tokens: tokens per row. criterion: decides which weights are best.
    """

    recipe: R
    row_tokens: int
    criterion: Criterion
    baseline: Baseline | None = None

    @property
    def evaluates_initial(self) -> bool:
        """Whether to evaluate the initial weights, because they were trained before."""
        return False

    def lr_scales(self, _module: M) -> Mapping[str, float]:
        """Return factors of the learning rate by the name of a parameter; 1 where there is none."""
        return {}

    @property
    def mask_rate(self) -> float:
        """Fraction of the tokens that get logits over the whole vocabulary, which decides their memory."""
        return 0.0

    @property
    @abstractmethod
    def weights(self) -> Mapping[str, float]:
        """Weight of each term of the loss. The first term is monitored for spikes."""

    @property
    @abstractmethod
    def evaluates(self) -> bool:
        """Whether there is held-out data. Without it the last weights count as the best."""

    @property
    def warnings(self) -> list[str]:
        """Warnings for the user before the first step."""
        return []

    @abstractmethod
    def supply(self) -> DataCounts:
        """Return the amount of training data."""

    @abstractmethod
    def first_module(self) -> M:
        """Build the initial module on the CPU: a function of the recipe, the seed and given weights."""

    @abstractmethod
    def empty_module(self) -> M:
        """Build a module for a checkpoint to fill; the folder of the initial weights may be gone."""

    @abstractmethod
    def batch_builder(self, ranks: Ranks, skipped_ranges: SkippedRanges = ()) -> Callable[[int], StepBatches]:
        """Return a function that collates the batches of a step (0 for the first) for this rank.

        A pure function of the recipe, the step and `skipped_ranges`, which is what makes resuming exact. It is sent to
        dataloader processes, so it must hold no tensors and no open files.
        """

    @abstractmethod
    def terms(self, module: M, batch: Any, forward: Encode, device: torch.device) -> dict[str, Term]:
        """Compute the loss of one micro-batch of a `StepBatches`, a sum and a count per term. Runs in autocast.

        forward: replaces the forward pass of `encoder(module)`, possibly compiled.
        """

    @abstractmethod
    def evaluate(self, module: M, compute: Compute, ranks: Ranks) -> Metrics:
        """Evaluate `module` and restore its mode. Returns equal metrics on every rank, `criterion` among them.

        All ranks call this together, so they may share the work. Only called if it `evaluates`.
        """

    def samples(self, _module: M, _compute: Compute) -> list[list[Any]]:
        """Fill a few held-out sentences for the log, as `Samples.fill`. Draws no random number and changes nothing."""
        return []

    @abstractmethod
    def write(self, run_dir: Path, module: M, best: Best | None) -> Path:
        """Write and verify the model folder, then replace the one before; returns its path.

        Only rank 0 writes. best: the evaluation of these weights, None if there was none. Raises CheckpointError if
        the disk is full.
        """

    def finish(self, _run_dir: Path, _best: Best | None, _compute: Compute) -> Iterable[Event]:
        """Yield the events of what remains to be done when the best weights are in the model folder.

        Called on rank 0, also when a finished run is started again, so it must skip what was done before.
        """
        return ()

    def encoder(self, module: M) -> Module:
        """Return the part of `module` with the most expensive forward pass, which is worth compiling."""
        return module

    def describe_example(self, number: int) -> str:
        """Return how a person finds example `number` of a `StepBatches`."""
        return str(number)

    def with_recipe(self, recipe: R) -> Self:
        """Return a copy for settings that differ only in [train] and [system]; nothing is opened or planned again."""
        again = copy.copy(self)
        again.recipe = recipe
        return again


class TrainingData(ABC, Generic[R]):
    """Data, tokenizer and initial weights of a run, opened and checked on every rank before its settings are complete.

    data, tokenizer: fingerprints; a run refuses to resume on any others. path: path of the data.
    """

    data: str
    tokenizer: str
    path: str
    settings: type[R]

    @abstractmethod
    def complete_recipe(self, recipe: R, saved: R | None) -> R:
        """Fill in the settings that follow from data, tokenizer or initial weights.

        saved: the recipe in the run folder; the folder of the initial weights may be gone.
        """

    @abstractmethod
    def initial_weights_id(self, recipe: R, known: str | None) -> str | None:
        """Return a fingerprint of the initial weights, None if they are random.

        known: the one in a checkpoint of the run, None without one: the folder may be gone.
        """

    @abstractmethod
    def build_task(self, recipe: R, ranks: Ranks) -> Task[R, Any]:
        """Build the task of a completed recipe."""


AnyTask: TypeAlias = Task[Any, Any]


@dataclass(frozen=True)
class StepBatches:
    """Batches of one optimizer step on this rank: what gradient accumulation adds up.

    step: 0 for the first. batches: this rank's micro-batches, as the task's `terms` takes them. counts: predictions of
    each term, num_tokens (padding not counted), fill: over all micro-batches and ranks.
    flops_per_token: floating-point operations of training on one token. facts: further values for the log.
    example_ids: (k,) int64, the examples of the whole step by their number in the run, in the order of the rows;
    sizes: number of them in each of `batches`.
    """

    step: int
    batches: list[Any]
    counts: Mapping[str, int]
    num_tokens: int
    fill: float
    flops_per_token: float
    example_ids: NDArray[np.int64]
    sizes: list[int]
    facts: Mapping[str, float] = field(default_factory=dict)

    def examples_of(self, index: int) -> list[int]:
        """Return the examples of micro-batch `index` (0 for the first), if this rank has all micro-batches."""
        first = sum(self.sizes[:index])
        return [int(example) for example in self.example_ids[first : first + self.sizes[index]]]


def data_step(step: int, skipped_ranges: SkippedRanges) -> int:
    """Return the step of the data that `step` trains on, past the text that rewinds have left out."""
    return step + sum(count for first, count, *_ in skipped_ranges if step >= first)
