"""A loss as a sum and a count, divided once, at the very end.

A mean of means is wrong as soon as two micro-batches, or two ranks, predict different numbers of tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from maskling.data.assemble import Batch
from maskling.model.attention import AttentionPattern
from maskling.model.device import to_device
from maskling.model.masked_lm import MaskedLM
from maskling.model.memory import LOGITS_BYTES
from maskling.objectives.cross_entropy import can_chunk, chunked_head_loss, head_loss, token_loss

# FOLDED DOCS
# [terms] Everything a model is trained on at once: the terms of the loss of one micro-batch.
# [tensors] A batch as tensors on the device that calculates.
# [mlm] Masked-token prediction (Devlin et al. 2019, section 3.1, task 1).
# [pair] Do two segments belong together? Next sentence (BERT, section 3.1, task 2) or sentence order (ALBERT, 3.1).


@dataclass(frozen=True)
class Term:
    """One part of a loss. sum: () fp32, added over predictions, differentiable; count: of those predictions."""

    sum: Tensor
    count: int


def weighted_loss(terms: Mapping[str, Term], counts: Mapping[str, int], weights: Mapping[str, float]) -> Tensor:
    """What to call backward on for one micro-batch: sum of weight * term.sum / count of the WHOLE batch.

    counts: predictions of each term over all micro-batches and ranks, so that the gradients simply add up. A term whose
    count is 0 has nothing to say anywhere and is left out.
    """
    parts = [weights.get(name, 1.0) / counts[name] * term.sum for name, term in terms.items() if counts[name]]
    return torch.stack(parts).sum()


Encode = Callable[..., Tensor]


def loss_terms(model: MaskedLM, batch: TensorBatch, encode: Encode | None = None) -> dict[str, Term]:
    """'mlm', and 'pair' where the batch has pairs.

    encode: stands in for `model` in the encoder's forward pass (a compiled one).
    """
    hidden = (encode or model)(batch.input_ids, batch.position_ids, batch.token_type_ids, batch.visible)
    found = {"mlm": masked_lm(model, hidden, batch)}
    if len(batch.pair_labels):
        found["pair"] = pairs(model, hidden, batch)
    return found


# oneDNN compiles a kernel for each shape of a matrix product and keeps a thousand of them: every batch has another
# number of predictions, and in 34 steps that made 700 MB of kernels. A few numbers make a few kernels.
EVENLY = 64


@dataclass(frozen=True)
class TensorBatch:
    """`maskling.data.assemble.Batch`, on a device.

    input_ids, position_ids, token_type_ids: (rows, seq) int64 or int32. visible: who sees whom.
    masked_positions: (m,) int64, places in the flat batch to predict, and then the first place again and again until
    they are a multiple of `EVENLY`; labels: (n,) int64, what belongs at the first n of them.
    first_positions: (k,) int64, the [CLS] of each example; pair_labels: (k,) int64, or empty without pairs.
    """

    input_ids: Tensor
    position_ids: Tensor
    token_type_ids: Tensor
    visible: AttentionPattern
    masked_positions: Tensor
    labels: Tensor
    first_positions: Tensor
    pair_labels: Tensor

    @classmethod
    def of(cls, batch: Batch, device: torch.device) -> TensorBatch:
        """Move a batch to `device`."""
        return cls(
            input_ids=to_device(batch.input_ids, device),
            position_ids=to_device(batch.position_ids, device),
            token_type_ids=to_device(batch.token_type_ids, device),
            visible=AttentionPattern.from_example_ids(
                torch.from_numpy(np.ascontiguousarray(batch.example_ids)), device
            ),
            masked_positions=to_device(
                np.pad(batch.masked_positions, (0, -len(batch.masked_positions) % EVENLY)), device
            ),
            labels=to_device(batch.labels, device),
            first_positions=to_device(batch.first_positions, device),
            pair_labels=to_device(batch.pair_labels, device),
        )


def masked_lm(model: MaskedLM, hidden: Tensor, batch: TensorBatch, logits_bytes: int = LOGITS_BYTES) -> Term:
    """The loss of the masked tokens. The head runs at masked positions only (1.7 times the speed at 'mini').

    hidden: (rows, seq, width), what the encoder returned for `batch`. Scores beyond `logits_bytes` in fp32 are made,
    used and forgotten in pieces, and made again in the backward pass.
    """
    chosen = at_masks(hidden, batch)
    rows = rows_at_once(model, logits_bytes)
    if len(chosen) <= rows:
        return Term(_loss(model, chosen, batch.labels), len(batch.labels))
    if can_chunk(chosen.device):
        loss = chunked_head_loss(model.transformed(chosen), *model.decoder(), batch.labels, rows)
        return Term(loss, len(batch.labels))
    # Pieces of nearly equal size, so that the last is not a sliver, and again of few different ones.
    size = -(-len(chosen) // -(-len(chosen) // rows))
    size += min(rows - size, -size % EVENLY)
    pieces = zip(torch.split(chosen, size), torch.split(batch.labels, size), strict=False)  # padding has no labels
    losses = [
        checkpoint(_loss, model, some, labels, use_reentrant=False, preserve_rng_state=False) for some, labels in pieces
    ]
    return Term(torch.stack(losses).sum(), len(batch.labels))


def at_masks(hidden: Tensor, batch: TensorBatch) -> Tensor:
    """The vectors of the tokens to predict, and behind them those of the padding: (m, width)."""
    return hidden.flatten(0, 1).index_select(0, batch.masked_positions)


def rows_at_once(model: MaskedLM, logits_bytes: int = LOGITS_BYTES) -> int:
    """How many predictions have fp32 logits of at most `logits_bytes`."""
    return max(1, logits_bytes // (4 * model.config.vocab_size))


def _loss(model: MaskedLM, chosen: Tensor, labels: Tensor) -> Tensor:
    return head_loss(model.transformed(chosen), *model.decoder(), labels)


def pairs(model: MaskedLM, hidden: Tensor, batch: TensorBatch) -> Term:
    """The loss of the pair labels: 0 for the true next segment or right order, 1 for a random or swapped one.

    hidden: (rows, seq, width), what the encoder returned for `batch`, which has pairs.
    """
    return Term(token_loss(judge(model, hidden, batch), batch.pair_labels), len(batch.pair_labels))


def judge(model: MaskedLM, hidden: Tensor, batch: TensorBatch) -> Tensor:
    """(k, 2) logits of each example's pair."""
    return model.pair(hidden.flatten(0, 1).index_select(0, batch.first_positions))
