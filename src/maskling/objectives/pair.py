"""Do two segments belong together? Next sentence (BERT, section 3.1, task 2) or sentence order (ALBERT, 3.1)."""

from __future__ import annotations

from torch import Tensor

from maskling.model.masked_lm import MaskedLM
from maskling.model.token_loss import token_loss
from maskling.objectives.loss import Term
from maskling.objectives.tensors import TensorBatch


def pairs(model: MaskedLM, hidden: Tensor, batch: TensorBatch) -> Term:
    """The loss of the pair labels: 0 for the true next segment or right order, 1 for a random or swapped one.

    hidden: (rows, seq, width), what the encoder returned for `batch`, which has pairs.
    """
    return Term(token_loss(judge(model, hidden, batch), batch.pair_labels), len(batch.pair_labels))


def judge(model: MaskedLM, hidden: Tensor, batch: TensorBatch) -> Tensor:
    """(k, 2) logits of each example's pair."""
    return model.pair(hidden.flatten(0, 1).index_select(0, batch.first_positions))
