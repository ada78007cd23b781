"""Pretraining losses: masked tokens and sentence pairs, each as a sum and a count.

A sum is divided by the count of the whole batch, over all micro-batches and ranks, which is known before the first
backward (`StepBatches.counts`), so gradient accumulation and the all-reduce only add. A mean of means is wrong as
soon as two micro-batches, or two ranks, predict different numbers of tokens.
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

# oneDNN compiles a kernel for each shape of a matrix product and caches a thousand of them. Every batch has another
# number of predictions, and in 34 steps that made 700 MB of kernels. Rounding up leaves only a few shapes.
PREDICTIONS_MULTIPLE = 64

# The forward pass of an encoder: the module itself or its compiled forward.
Encode = Callable[..., Tensor]


@dataclass(frozen=True)
class Term:
    """One term of a loss.

    sum: () fp32, summed over predictions, differentiable. count: number of predictions.
    """

    sum: Tensor
    count: int


def weighted_loss(terms: Mapping[str, Term], counts: Mapping[str, int], weights: Mapping[str, float]) -> Tensor:
    """Return the loss to call backward on for one micro-batch: sum of weight * term.sum / count of the WHOLE batch.

    counts: predictions of each term over all micro-batches and ranks, so that gradients add up to those of the batch. A
    term with a count of 0 has no predictions on any rank and adds 0, with a gradient of zeros: without the one of the
    masked-token head, the word table would have a sparse gradient, which neither clipping nor optimizers take.
    """
    scales = {name: weights.get(name, 1.0) / counts[name] if counts[name] else 0.0 for name in terms}
    return torch.stack([scales[name] * term.sum for name, term in terms.items()]).sum()


@dataclass(frozen=True)
class TensorBatch:
    """The tensors of a `maskling.data.assemble.Batch`, on a device.

    input_ids, position_ids, token_type_ids: (rows, seq) int64 or int32.
    attention_pattern: the attention mask of the packed rows.
    masked_positions: (m,) int64, indices of the tokens to predict in the flat batch, then padding: index 0 until m is a
    multiple of `PREDICTIONS_MULTIPLE`. labels: (n,) int64, the token ids to predict at the first n of them.
    first_positions: (k,) int64, flat index of the [CLS] of each example. pair_labels: (k,) int64, empty without pairs.
    """

    input_ids: Tensor
    position_ids: Tensor
    token_type_ids: Tensor
    attention_pattern: AttentionPattern
    masked_positions: Tensor
    labels: Tensor
    first_positions: Tensor
    pair_labels: Tensor

    @classmethod
    def from_batch(cls, batch: Batch, device: torch.device) -> TensorBatch:
        """Return the batch as tensors on `device`."""
        return cls(
            input_ids=to_device(batch.input_ids, device),
            position_ids=to_device(batch.position_ids, device),
            token_type_ids=to_device(batch.token_type_ids, device),
            attention_pattern=AttentionPattern.from_example_ids(
                torch.from_numpy(np.ascontiguousarray(batch.example_ids)), device
            ),
            masked_positions=to_device(
                np.pad(batch.masked_positions, (0, -len(batch.masked_positions) % PREDICTIONS_MULTIPLE)), device
            ),
            labels=to_device(batch.labels, device),
            first_positions=to_device(batch.first_positions, device),
            pair_labels=to_device(batch.pair_labels, device),
        )


def loss_terms(model: MaskedLM, batch: TensorBatch, encode: Encode | None = None) -> dict[str, Term]:
    """Compute the loss terms of one micro-batch: 'mlm', and 'pair' if the batch has pairs.

    encode: replaces the forward pass of `model`, such as its compiled version.
    """
    hidden = (encode or model)(batch.input_ids, batch.position_ids, batch.token_type_ids, batch.attention_pattern)
    terms = {"mlm": masked_lm_loss(model, hidden, batch)}
    if len(batch.pair_labels):
        terms["pair"] = pair_loss(model, hidden, batch)
    return terms


# Masked-token prediction (Devlin et al. 2019, section 3.1, task 1).


def masked_lm_loss(model: MaskedLM, hidden: Tensor, batch: TensorBatch, logits_bytes: int = LOGITS_BYTES) -> Term:
    """Compute the loss of the masked tokens. The head runs at masked positions only (1.7 times the speed at 'mini').

    hidden: (rows, seq, width), the encoder's output for `batch`. If the logits take more than `logits_bytes` in fp32,
    they are computed in chunks and recomputed in the backward pass.
    """
    masked = masked_hidden(hidden, batch)
    rows = max_scored_rows(model, logits_bytes)
    if len(masked) <= rows:
        return Term(_head_loss(model, masked, batch.labels), len(batch.labels))
    if can_chunk(masked.device):
        loss = chunked_head_loss(model.transformed(masked), *model.decoder(), batch.labels, rows)
        return Term(loss, len(batch.labels))
    # Chunks of nearly equal size, so that the last is not tiny, and of few different sizes, see PREDICTIONS_MULTIPLE.
    size = -(-len(masked) // -(-len(masked) // rows))
    size += min(rows - size, -size % PREDICTIONS_MULTIPLE)
    chunks = zip(torch.split(masked, size), torch.split(batch.labels, size), strict=False)  # padding has no labels
    losses = [
        checkpoint(_head_loss, model, chunk, labels, use_reentrant=False, preserve_rng_state=False)
        for chunk, labels in chunks
    ]
    return Term(torch.stack(losses).sum(), len(batch.labels))


def masked_hidden(hidden: Tensor, batch: TensorBatch) -> Tensor:
    """Return the hidden states of the tokens to predict, then those of the padding: (m, width)."""
    return hidden.flatten(0, 1).index_select(0, batch.masked_positions)


def max_scored_rows(model: MaskedLM, logits_bytes: int = LOGITS_BYTES) -> int:
    """Return the number of predictions whose fp32 logits take at most `logits_bytes`."""
    return max(1, logits_bytes // (4 * model.config.vocab_size))


def _head_loss(model: MaskedLM, masked: Tensor, labels: Tensor) -> Tensor:
    return head_loss(model.transformed(masked), *model.decoder(), labels)


# Pairs of segments: next sentence (Devlin et al. 2019, section 3.1, task 2) or sentence order (ALBERT, section 3.1).


def pair_loss(model: MaskedLM, hidden: Tensor, batch: TensorBatch) -> Term:
    """Compute the loss of the pair labels: 0 for the true next segment or order, 1 for a random or swapped one.

    hidden: (rows, seq, width), the encoder's output for `batch`, which has pairs.
    """
    return Term(token_loss(pair_logits(model, hidden, batch), batch.pair_labels), len(batch.pair_labels))


def pair_logits(model: MaskedLM, hidden: Tensor, batch: TensorBatch) -> Tensor:
    """Return the logits of each example's pair: (k, 2)."""
    return model.pair(hidden.flatten(0, 1).index_select(0, batch.first_positions))
