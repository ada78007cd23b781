"""Metrics of masked-token prediction on held-out text with fixed masks: float64 sums over predictions, divided once.

Repeated on one machine the metrics are bit-identical; under another batch size they are equal up to rounding.
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
from maskling.objectives.losses import TensorBatch, masked_hidden, max_scored_rows, pair_logits


@dataclass(frozen=True)
class MaskedLMMetrics:
    """Means over predictions: losses in nats, accuracies as fractions.

    predictions, pairs: the counts. pair_loss, pair_accuracy: None without pairs.
    """

    mlm_loss: float
    top1: float
    top5: float
    predictions: int
    pair_loss: float | None = None
    pair_accuracy: float | None = None
    pairs: int = 0

    @property
    def perplexity(self) -> float:
        """exp(mlm_loss), infinity if that overflows a float."""
        return entropy.perplexity(self.mlm_loss)


def measure_masked_lm(
    model: MaskedLM,
    batches: Iterable[Batch],
    compute: Compute,
    total: Callable[[Tensor], Tensor] = lambda own: own,
) -> MaskedLMMetrics:
    """Measure `model` on `batches` in evaluation mode, then restore its mode.

    total: the sum over ranks (an all-reduce) if each rank has some of the batches; called with (7,) float64.
    Raises DataError if the batches have no predictions.
    """
    tally = MetricSums(model, compute)
    was_training = model.training
    model.eval()
    try:
        for batch in batches:
            tally.add(batch)
    finally:
        model.train(was_training)
    return tally.metrics(total)


class MetricSums:
    """Accumulator of the sums behind `MaskedLMMetrics`, one batch at a time. The model's mode is not changed."""

    def __init__(self, model: MaskedLM, compute: Compute) -> None:
        self._model, self._compute = model, compute
        device = "cpu" if compute.device.type == "mps" else compute.device
        # loss, top-1 hits, top-5 hits; pair loss, correct pairs
        self._sums = torch.zeros(5, dtype=torch.float64, device=device)
        self._predictions = self._pairs = 0

    @torch.no_grad()
    def add(self, one: Batch) -> None:
        """Add the sums of one batch."""
        model, sums = self._model, self._sums
        batch = TensorBatch.from_batch(one, self._compute.device)
        with self._compute.autocast():
            hidden = model(batch.input_ids, batch.position_ids, batch.token_type_ids, batch.attention_pattern)
            sums[:3] += _masked_sums(model, masked_hidden(hidden, batch), batch.labels).to(sums.device)
            if len(batch.pair_labels):
                sums[3:] += _pair_sums(pair_logits(model, hidden, batch), batch.pair_labels).to(sums.device)
        self._predictions += len(batch.labels)
        self._pairs += len(batch.pair_labels)

    def metrics(self, total: Callable[[Tensor], Tensor] = lambda own: own) -> MaskedLMMetrics:
        """Return the metrics of all batches so far. `total` and Raises: see `measure_masked_lm`."""
        own_counts = torch.tensor([self._predictions, self._pairs], dtype=torch.float64, device=self._sums.device)
        loss, top1, top5, pair_loss, correct, *counts = total(torch.cat([self._sums, own_counts])).tolist()
        predictions, pairs = map(int, counts)
        if not predictions:
            raise DataError("there is nothing to predict in the text to measure on; give more text")
        return MaskedLMMetrics(
            mlm_loss=loss / predictions,
            top1=top1 / predictions,
            top5=top5 / predictions,
            predictions=predictions,
            pair_loss=pair_loss / pairs if pairs else None,
            pair_accuracy=correct / pairs if pairs else None,
            pairs=pairs,
        )


def _masked_sums(model: MaskedLM, masked: Tensor, labels: Tensor) -> Tensor:
    """Return the sums of loss, top-1 hits and top-5 hits: (3,) float64.

    masked: (m, width) hidden states, the first n of them labelled. labels: (n,) int64.
    """
    sums = []
    # The comparisons below need a few bytes per logit besides the logits themselves.
    rows = max(1, max_scored_rows(model) // 2)
    for states, chunk_labels in zip(torch.split(masked, rows), torch.split(labels, rows), strict=False):
        logits = model.predict(states)[: len(chunk_labels)].float()
        losses = F.cross_entropy(logits, chunk_labels, reduction="none")
        ranks = token_ranks(logits, chunk_labels)
        sums.append(torch.stack([_sum(losses), _sum(ranks < 1), _sum(ranks < 5)]))
    return torch.stack(sums).sum(0) if sums else torch.zeros(3, dtype=torch.float64)


def token_ranks(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the rank of each label among the logits of its row, 0 for the highest: (n,) int64.

    logits: (n, vocab). labels: (n,) int64. Ties are ordered by id, as in a list of predictions: if ties counted as
    hits, a model with the same logit for every token would be perfect.
    """
    of_labels = logits.gather(1, labels[:, None])
    ranks = (~(logits <= of_labels)).sum(1)  # written with <= so that a logit of NaN is never a hit
    ties = logits == of_labels
    if bool((ties.sum(1) > 1).any()):
        ids = torch.arange(logits.shape[1], device=logits.device)
        ranks += (ties & (ids < labels[:, None])).sum(1)
    return ranks


def _pair_sums(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the sums of loss and of correct pairs: (2,) float64. logits: (k, 2). labels: (k,) int64."""
    logits = logits.float()
    return torch.stack([_sum(F.cross_entropy(logits, labels, reduction="none")), _sum(logits.argmax(1) == labels)])


def _sum(values: Tensor) -> Tensor:
    # Apple's GPUs have no float64.
    return (values.cpu() if values.device.type == "mps" else values).double().sum()
