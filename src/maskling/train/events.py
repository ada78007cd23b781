"""Events of a training run, yielded by the loop to its caller: plain values, no tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

Details: TypeAlias = dict[str, Any]
"""Scores per label ('labels'), a confusion matrix ('confusion') and the scores of guessing ('majority'), for JSON."""

Metrics: TypeAlias = dict[str, float | int | None]
"""Metrics of an evaluation by name; None for one that is undefined."""


def finite_metrics(metrics: Metrics) -> Metrics:
    """Replace NaN and infinity by None: JSON has neither."""
    return {name: None if value is None or not math.isfinite(value) else value for name, value in metrics.items()}


@dataclass(frozen=True)
class Baseline:
    """Loss of a model that only uses the frequency of each answer; a useful model is below it.

    name: of the baseline; loss: nats per prediction of the task's first term; knows: what it uses, such as 'token
    frequencies'; else_causes: why a loss could stay there, besides a bad learning rate. label, scores: of tasks with
    labels the most frequent one of the held-out records, and the metrics of always predicting it.
    """

    name: str
    loss: float
    knows: str
    else_causes: str = ""
    label: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Measuring:
    """A few steps are timed and then undone, to find how many fit into `budget`; comes before Started.

    seconds: approximate duration; an evaluation and a checkpoint follow.
    """

    budget: str
    seconds: float


@dataclass(frozen=True)
class Replanned:
    """After `step` steps the machine turned out faster or slower than measured: `steps` fit, not `before`."""

    step: int
    budget: str
    before: int
    steps: int


@dataclass(frozen=True)
class Started:
    """The run is about to take its first step.

    description: device, threads, dtype and attention kernel in use. tokens: of the training text.
    baseline: loss of guessing by frequency, if known. resumed_from: step of the checkpoint that the run resumes from.
    memory: expected peak in bytes. trained: number of parameters that are trained, if not all are.
    source: path of the training data. budget: the time budget, if there is one.
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
    trained: int | None = None
    source: str = ""
    budget: str | None = None


@dataclass(frozen=True)
class Step:
    """One optimizer step was taken; losses in nats per prediction, over the whole batch of all ranks.

    step: 1 for the first. loss: weighted sum of `terms`; a term is None if the batch has no prediction for it. The loss
    is None if the batch has no prediction at all; no weight has changed then.
    facts: further values of the task (the mask rate). tokens_per_second: real tokens, padding not counted.
    fill: real tokens / positions. mfu: model FLOPs utilization: floating-point operations of the model per second over
    those that the device's matrix products reach; None on a CPU, where other programs and its clock change the latter.
    """

    step: int
    steps: int
    loss: float | None
    terms: Mapping[str, float | None]
    lr: float
    facts: Mapping[str, float]
    tokens_per_second: float
    fill: float
    gradient_norm: float
    seconds_left: float
    mfu: float | None = None

    def flat(self) -> dict[str, Any]:
        """Return one level of names and values: 'mlm' and 'mask_rate' beside 'loss' and 'lr'."""
        flat: dict[str, Any] = {}
        for name, value in vars(self).items():
            flat |= value if isinstance(value, Mapping) else {name: value}
        return flat


@dataclass(frozen=True)
class Evaluating:
    """An evaluation on held-out data begins after `step` steps; it can take a while.

    source: file of labelled records, if any.
    """

    step: int
    source: str | None = None


@dataclass(frozen=True)
class Evaluated:
    """Held-out metrics after `step` steps; step 0 for the initial weights.

    measured: metrics by name, None for an undefined one. best: whether these are the best weights so far.
    """

    step: int
    measured: Metrics
    best: bool


@dataclass(frozen=True)
class Saved:
    """A checkpoint, or the model folder, is complete on disk; yielded on rank 0.

    A checkpoint is written while training continues, so this event follows some steps after the step it belongs to.
    stall_seconds: how long training waited for it; write_seconds: how long writing took.
    """

    step: int
    path: Path
    stall_seconds: float = 0.0
    write_seconds: float = 0.0


@dataclass(frozen=True)
class Warned:
    """Warning for the user; the run continues."""

    text: str


@dataclass(frozen=True)
class FinalMetrics:
    """Metrics of the final weights; yielded on rank 0, at the end.

    step: of the weights. role: 'dev' for the records that chose them, 'test' for those that did not. source, records:
    file and number of the records. details: scores per label, of tasks that have labels.
    """

    step: int
    role: str
    source: str
    records: int
    measured: Metrics
    details: Details = field(default_factory=dict)


@dataclass(frozen=True)
class CrossValidated:
    """All folds of a cross-validation are done.

    folds: metrics of each fold's own records, in order. records: number of them in all. mean, deviation: over the
    folds, by metric; the deviation is that of a sample (divided by the number of folds - 1).
    """

    source: str
    records: int
    folds: list[Metrics]
    mean: Metrics
    deviation: Metrics


@dataclass(frozen=True)
class Finished:
    """The run is over: all steps taken, stopped early, or interrupted with a checkpoint at `step`.

    step: 0 if it was interrupted while steps were timed, with nothing written. empty: steps without anything to
    predict, which changed no weight.
    best_step, best_value: of the best evaluation; best_name: of the criterion; before: its value before the first
    step, if training began from given weights.
    model: the model folder, if one was written. already: nothing was left to do. memory: peak memory in bytes, on a
    GPU what torch allocated there.
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
    empty: int = 0


Event = (
    Measuring
    | Replanned
    | Started
    | Step
    | Evaluating
    | Evaluated
    | Saved
    | Warned
    | FinalMetrics
    | CrossValidated
    | Finished
)
