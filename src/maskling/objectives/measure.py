"""How good a model is at fixed masks: sums over predictions in float64, divided once.

Repeated on one machine the numbers are equal to the last digit, and equal under any batch size to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from maskling.data.assemble import Batch
from maskling.errors import DataError
from maskling.metrics import entropy
from maskling.model.device import Compute
from maskling.model.masked_lm import MaskedLM
from maskling.objectives.losses import TensorBatch, at_masks, judge, rows_at_once


@dataclass(frozen=True)
class MaskedLMMetrics:
    """Means over predictions: loss in nats, accuracies as fractions; `pair_accuracy` is None without pairs."""

    mlm_loss: float
    top1: float
    top5: float
    predictions: int
    pair_loss: float | None = None
    pair_accuracy: float | None = None
    pairs: int = 0

    @property
    def perplexity(self) -> float:
        """exp(mlm_loss), infinite where that is too large for a float."""
        return entropy.perplexity(self.mlm_loss)


def measure_masked_lm(
    model: MaskedLM,
    batches: Iterable[Batch],
    compute: Compute,
    total: Callable[[Tensor], Tensor] = lambda own: own,
) -> MaskedLMMetrics:
    """Measure `model` on `batches`, in evaluation mode; the mode it was in is put back.

    total: adds up over the processes that have the other batches; it gets (7,) float64.
    Raises DataError if there is nothing to predict.
    """
    tally = MetricSums(model, compute)
    was_training = model.training
    model.eval()
    try:
        for batch in batches:
            tally.add(batch)
    finally:
        model.train(was_training)
    return tally.measured(total)


class MetricSums:
    """The sums behind `MaskedLMMetrics`, a batch at a time. The model is taken in the mode it is in."""

    def __init__(self, model: MaskedLM, compute: Compute) -> None:
        self._model, self._compute = model, compute
        device = "cpu" if compute.device.type == "mps" else compute.device
        # loss, top 1, top 5; pair loss, pairs judged right
        self._sums = torch.zeros(5, dtype=torch.float64, device=device)
        self._predictions = self._judged = 0

    @torch.no_grad()
    def add(self, one: Batch) -> None:
        """Measure the model on a batch."""
        model, sums = self._model, self._sums
        batch = TensorBatch.of(one, self._compute.device)
        with self._compute.autocast():
            hidden = model(batch.input_ids, batch.position_ids, batch.token_type_ids, batch.visible)
            sums[:3] += _masked(model, at_masks(hidden, batch), batch.labels).to(sums.device)
            if len(batch.pair_labels):
                sums[3:] += _paired(judge(model, hidden, batch), batch.pair_labels).to(sums.device)
        self._predictions += len(batch.labels)
        self._judged += len(batch.pair_labels)

    def measured(self, total: Callable[[Tensor], Tensor] = lambda own: own) -> MaskedLMMetrics:
        """What the sums come to; `total` and what is raised as in `measure_masked_lm`."""
        counts = torch.tensor([self._predictions, self._judged], dtype=torch.float64, device=self._sums.device)
        loss, top1, top5, pair_loss, right, *whole = total(torch.cat([self._sums, counts])).tolist()
        predictions, judged = map(int, whole)
        if not predictions:
            raise DataError("there is nothing to predict in the text to measure on; give more text")
        return MaskedLMMetrics(
            mlm_loss=loss / predictions,
            top1=top1 / predictions,
            top5=top5 / predictions,
            predictions=predictions,
            pair_loss=pair_loss / judged if judged else None,
            pair_accuracy=right / judged if judged else None,
            pairs=judged,
        )


def _masked(model: MaskedLM, chosen: Tensor, labels: Tensor) -> Tensor:
    """(3,) sums of loss, top-1 hits and top-5 hits. chosen: (m, width), the first n of them labelled; labels: (n,)."""
    sums = []
    # The comparisons below need a few bytes a logit beside the logits themselves.
    rows = max(1, rows_at_once(model) // 2)
    for some, wanted in zip(torch.split(chosen, rows), torch.split(labels, rows), strict=False):
        logits = model.predict(some)[: len(wanted)].float()
        losses = F.cross_entropy(logits, wanted, reduction="none")
        ahead = token_ranks(logits, wanted)
        sums.append(torch.stack([_sum(losses), _sum(ahead < 1), _sum(ahead < 5)]))
    return torch.stack(sums).sum(0) if sums else torch.zeros(3, dtype=torch.float64)


def token_ranks(scores: Tensor, labels: Tensor) -> Tensor:
    """How many tokens stand before the right one: (n,) int64. scores: (n, vocab); labels: (n,) int64.

    Equal scores stand in the order of their ids, as in a list of answers. Were ties counted as right, a model that
    scores everything alike would be perfect.
    """
    own = scores.gather(1, labels[:, None])
    before = (~(scores <= own)).sum(1)  # so written, a score that is not a number is never a hit
    ties = scores == own
    if bool((ties.sum(1) > 1).any()):
        ids = torch.arange(scores.shape[1], device=scores.device)
        before += (ties & (ids < labels[:, None])).sum(1)
    return before


def _paired(logits: Tensor, labels: Tensor) -> Tensor:
    """(2,) sums of loss and of pairs judged right. logits: (k, 2); labels: (k,)."""
    logits = logits.float()
    return torch.stack([_sum(F.cross_entropy(logits, labels, reduction="none")), _sum(logits.argmax(1) == labels)])


def _sum(values: Tensor) -> Tensor:
    # Apple's GPUs have no float64.
    return (values.cpu() if values.device.type == "mps" else values).double().sum()
