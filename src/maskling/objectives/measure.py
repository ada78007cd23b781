"""How good a model is at fixed masks: sums over predictions in float64, divided once.

Repeated on one machine the numbers are equal to the last digit, and equal under any batch size to rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from maskling.data.batch import Batch
from maskling.errors import DataError
from maskling.model.device import Compute
from maskling.model.masked_lm import MaskedLM
from maskling.objectives.mlm import at_masks, rows_at_once
from maskling.objectives.pair import judge
from maskling.objectives.tensors import TensorBatch


@dataclass(frozen=True)
class Measured:
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
        return math.exp(self.mlm_loss) if self.mlm_loss < 700 else math.inf


@torch.no_grad()
def measure(
    model: MaskedLM,
    batches: Iterable[Batch],
    compute: Compute,
    total: Callable[[Tensor], Tensor] = lambda own: own,
) -> Measured:
    """Measure `model` on `batches`, in evaluation mode; the mode it was in is put back.

    total: adds up over the processes that have the other batches; it gets (7,) float64.
    Raises DataError if there is nothing to predict.
    """
    was_training = model.training
    model.eval()
    # loss, top 1, top 5; pair loss, pairs judged right
    sums = torch.zeros(5, dtype=torch.float64, device="cpu" if compute.device.type == "mps" else compute.device)
    predictions = judged = 0
    try:
        for one in batches:
            batch = TensorBatch.of(one, compute.device)
            with compute.autocast():
                hidden = model(batch.input_ids, batch.position_ids, batch.token_type_ids, batch.visible)
                sums[:3] += _masked(model, at_masks(hidden, batch), batch.labels).to(sums.device)
                if len(batch.pair_labels):
                    sums[3:] += _paired(judge(model, hidden, batch), batch.pair_labels).to(sums.device)
            predictions += len(batch.labels)
            judged += len(batch.pair_labels)
    finally:
        model.train(was_training)
    counts = torch.tensor([predictions, judged], dtype=torch.float64, device=sums.device)
    loss, top1, top5, pair_loss, right, *whole = total(torch.cat([sums, counts])).tolist()
    predictions, judged = map(int, whole)
    if not predictions:
        raise DataError("there is nothing to predict in the text to measure on; give more text")
    return Measured(
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
        ahead = _places(logits, wanted)
        sums.append(torch.stack([_sum(losses), _sum(ahead < 1), _sum(ahead < 5)]))
    return torch.stack(sums).sum(0) if sums else torch.zeros(3, dtype=torch.float64)


def _places(logits: Tensor, labels: Tensor) -> Tensor:
    """How many tokens stand before the right one: (n,) int64.

    Equal scores stand in the order of their ids, as in a list of answers. Were ties counted as right, a model that
    scores everything alike would be perfect.
    """
    own = logits.gather(1, labels[:, None])
    before = (~(logits <= own)).sum(1)  # so written, a score that is not a number is never a hit
    ties = logits == own
    if bool((ties.sum(1) > 1).any()):
        ids = torch.arange(logits.shape[1], device=logits.device)
        before += (ties & (ids < labels[:, None])).sum(1)
    return before


def _paired(logits: Tensor, labels: Tensor) -> Tensor:
    """(2,) sums of loss and of pairs judged right. logits: (k, 2); labels: (k,)."""
    logits = logits.float()
    return torch.stack([_sum(F.cross_entropy(logits, labels, reduction="none")), _sum(logits.argmax(1) == labels)])


def _sum(values: Tensor) -> Tensor:
    # Apple's GPUs have no float64.
    return (values.cpu() if values.device.type == "mps" else values).double().sum()
