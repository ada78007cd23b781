"""Everything a model is trained on at once: the terms of the loss of one micro-batch."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from maskling.model.masked_lm import MaskedLM
from maskling.objectives.loss import Term
from maskling.objectives.mlm import masked_lm
from maskling.objectives.pair import pairs
from maskling.objectives.tensors import TensorBatch

Encode = Callable[..., Tensor]


def terms(model: MaskedLM, batch: TensorBatch, encode: Encode | None = None) -> dict[str, Term]:
    """'mlm', and 'pair' where the batch has pairs.

    encode: stands in for `model` in the encoder's forward pass (a compiled one).
    """
    hidden = (encode or model)(batch.input_ids, batch.position_ids, batch.token_type_ids, batch.visible)
    found = {"mlm": masked_lm(model, hidden, batch)}
    if len(batch.pair_labels):
        found["pair"] = pairs(model, hidden, batch)
    return found
