"""What the engine asks of whatever it trains.

`run` knows steps, ranks, checkpoints and folders. What is learnt, how it is judged and what is left in the end are a
`Task`; what that is made of, opened and checked before anything else is done, is a `TrainingData`. Pretraining is one pair
of them, each kind of fine-tuning another.
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

from maskling.train.settings import R

if TYPE_CHECKING:
    import torch
    from torch.nn import Module

    from maskling.model.device import Compute
    from maskling.objectives.losses import Encode, Term
    from maskling.train.distributed import Ranks
    from maskling.train.events import Event

# FOLDED DOCS
# [work] What one optimizer step has to do: its micro-batches on this rank, and the counts of the whole batch.


M = TypeVar("M", bound="Module")
Numbers: TypeAlias = dict[str, float | int | None]
"""What an evaluation measured, by name; None for what it could not."""


def finite_metrics(numbers: Numbers) -> Numbers:
    """The same, with None for what is not a number or infinite: JSON knows neither."""
    return {name: None if value is None or not math.isfinite(value) else value for name, value in numbers.items()}


SkippedRanges: TypeAlias = Sequence[Sequence[int]]
"""Text that the run has left out, as in a checkpoint's state."""


@dataclass(frozen=True)
class Criterion:
    """The number of an evaluation that says which weights are best, and in which direction. words: its name in a line.

    Of equal evaluations the first is the best.
    """

    name: str
    higher: bool = False
    words: str = ""

    def better(self, value: float | None, before: float | None) -> bool:
        """Whether `value` is better than the best one before. A value that is no number never is."""
        if value is None or not math.isfinite(value):
            return False
        return before is None or (value > before if self.higher else value < before)


@dataclass(frozen=True)
class Baseline:
    """The loss of a model that knows only how often each answer occurs: what any other has to stay below.

    name: what it is called; loss: nats a prediction of the task's first term; knows: 'how often each token occurs';
    else_causes: why a loss could stay there, beside a bad learning rate.
    """

    name: str
    loss: float
    knows: str
    else_causes: str = ""


@dataclass(frozen=True)
class Supply:
    """How much there is to learn from. tokens: of the training text."""

    tokens: int
    examples_per_epoch: int
    examples_per_step: int


@dataclass(frozen=True)
class Best:
    """The best evaluation so far: after which step, the number that decided, and everything that was measured.

    before: the number that decides as it was before the first step, where training began with weights that were given.
    """

    step: int
    value: float
    numbers: Numbers
    before: float | None = None


class Task(ABC, Generic[R, M]):
    """What a run with whole settings learns, how it is judged, and what it leaves. Each rank has its own.

    recipe: the settings. row_tokens: tokens in a row. criterion: what decides which weights are best.
    """

    recipe: R
    row_tokens: int
    criterion: Criterion
    baseline: Baseline | None = None

    @property
    def measures_first(self) -> bool:
        """Whether the weights that training begins with say something already, so that they are measured first."""
        return False

    @property
    def mask_rate(self) -> float:
        """The share of the tokens that the whole vocabulary is scored for: what its scores cost in memory."""
        return 0.0

    @property
    @abstractmethod
    def weights(self) -> Mapping[str, float]:
        """The weight of each term of the loss. The loss of the first is watched for spikes."""

    @property
    @abstractmethod
    def evaluates(self) -> bool:
        """Whether there is anything to evaluate on. If not, the last weights count as the best."""

    @property
    def warnings(self) -> list[str]:
        """What a person should know before the first step."""
        return []

    @abstractmethod
    def supply(self) -> Supply:
        """How much there is to learn from."""

    @abstractmethod
    def first_module(self) -> M:
        """The module as training starts with it, on the CPU: a function of the recipe, the seed and given weights."""

    @abstractmethod
    def empty_module(self) -> M:
        """A module for a checkpoint to fill; weights that training began with may be gone."""

    @abstractmethod
    def batch_builder(self, ranks: Ranks, left_out: SkippedRanges = ()) -> Callable[[int], StepBatches]:
        """What makes the work of a step (0 for the first) on this rank.

        A pure function of the recipe, the step and `left_out`: that is what makes going on exact. It travels to worker
        processes, so it must hold no tensors and nothing open.
        """

    @abstractmethod
    def terms(self, module: M, batch: Any, encode: Encode, device: torch.device) -> dict[str, Term]:
        """The loss of one micro-batch of a `StepBatches`, a sum and a count for each term. Runs in autocast.

        encode: stands in for the forward pass of `encoder(module)`, perhaps compiled.
        """

    @abstractmethod
    def evaluate(self, module: M, compute: Compute, ranks: Ranks) -> Numbers:
        """Measure `module` and leave it in the mode it was in. The same numbers on every rank, `criterion` among them.

        All ranks come here at once, so they may share the work. Only asked where it `evaluates`.
        """

    @abstractmethod
    def write(self, run_dir: Path, module: M, best: Best | None) -> Path:
        """Write the folder for other programs, checked before it replaces what was there; returns where it is.

        Only rank 0 writes. best: the evaluation of these weights, None if there was none. Raises CheckpointError if the
        disk does not take it.
        """

    def finish(self, run_dir: Path, best: Best | None, compute: Compute) -> Iterable[Event]:  # noqa: ARG002
        """What is still to be done, and told, when the best weights are in their folder. On rank 0, and each time that
        a finished run is run again, so it does nothing twice.
        """
        return ()

    def encoder(self, module: M) -> Module:
        """The part of `module` whose forward pass costs the most: what is worth compiling."""
        return module

    def describe_example(self, number: int) -> str:
        """How a person finds example `number` of a `StepBatches`."""
        return str(number)

    def with_recipe(self, recipe: R) -> Self:
        """The same task for settings that differ in [train] and [system] only: nothing is opened or planned again."""
        again = copy.copy(self)
        again.recipe = recipe
        return again


class TrainingData(ABC, Generic[R]):
    """What a run is made of, opened and checked on every rank, before its settings are whole.

    data, tokenizer: fingerprints; going on with a run on anything else is refused. place: where the data lies.
    """

    data: str
    tokenizer: str
    place: str
    settings: type[R]

    @abstractmethod
    def complete_recipe(self, recipe: R, written: R | None) -> R:
        """The recipe with everything filled in that data, tokenizer or given weights decide.

        written: what the run folder holds; weights that the run began with may be gone by now.
        """

    @abstractmethod
    def initial_weights_id(self, recipe: R, known: str | None) -> str | None:
        """What tells the weights that a run begins with from others, None if they are drawn.

        known: what a checkpoint of the run says of them, None without one: their folder may be gone.
        """

    @abstractmethod
    def build_task(self, recipe: R, ranks: Ranks) -> Task[R, Any]:
        """The task of a completed recipe."""


AnyTask: TypeAlias = Task[Any, Any]


@dataclass(frozen=True)
class StepBatches:
    """One step's share of the data.

    step: 0 for the first. batches: this rank's micro-batches, as the task's `terms` takes them. counts: the predictions
    of each term, num_tokens (padding not counted), fill: over all micro-batches and ranks.
    flops_per_token: floating-point operations of training on one token. facts: what else a line about the step says.
    numbers: (k,) int64, the examples of the whole step by their number in the run, in the order of the rows;
    sizes: how many of them each of `batches` has.
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

    def examples_of(self, place: int) -> list[int]:
        """The examples of micro-batch `place` (0 for the first), where this rank has all micro-batches."""
        first = sum(self.sizes[:place])
        return [int(number) for number in self.example_ids[first : first + self.sizes[place]]]


def data_step(step: int, left_out: Sequence[Sequence[int]]) -> int:
    """Which step's text `step` takes. left_out: as in a checkpoint's state."""
    return step + sum(count for first, count, *_ in left_out if step >= first)
