"""The vectors of all texts of a step, however few of them fit into memory at once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from maskling.finetune.rows import Rows
from maskling.finetune.similarity.work import Compared
from maskling.model.encoder import pooled
from maskling.model.masked_lm import MaskedLM
from maskling.model.tasks.config import Pooling
from maskling.objectives.terms import Encode
from maskling.train.world import World


def step_vectors(
    module: MaskedLM, compared: Compared, encode: Encode, device: torch.device, pooling: Pooling, world: World
) -> Tensor:
    """The vectors of all sequences of a step: (sequences, hidden) fp32.

    Of more than one micro-batch only the vectors are kept, and each is encoded again, with the same dropout, when its
    gradient is wanted: what Gao et al. 2021 (Scaling deep contrastive learning batch size under memory limited setup,
    section 3.2) call gradient caching is a checkpoint of activations around each. So loss and gradient are those of
    the whole step, for a third more time.
    """
    vectors = []
    for part in compared.parts:
        rows = Rows.of(part, device)
        if len(compared.parts) == 1:
            vectors.append(_encoded(rows, encode, pooling))
        else:
            vectors.append(_again(_encoded, rows, encode, pooling))
    if not vectors:
        # A rank without rows has nothing, but the engine wants something to differentiate.
        vectors = [module.word.weight[:0].float()]
    return _of_all_ranks(torch.cat(vectors), compared, world)


def _encoded(rows: Rows, encode: Encode, pooling: Pooling) -> Tensor:
    hidden = encode(rows.input_ids, rows.position_ids, rows.token_type_ids, rows.visible)
    with torch.autocast(hidden.device.type, enabled=False):
        return pooled(hidden.float(), rows.first_positions, rows.visible, pooling)


def _again(*what: Any) -> Tensor:
    found: Tensor = checkpoint(*what, use_reentrant=False, preserve_rng_state=True)
    return found


def _of_all_ranks(own: Tensor, compared: Compared, world: World) -> Tensor:
    """Every rank's vectors, of which only its own can be differentiated here: the others do that with theirs."""
    if world.size == 1:
        return own
    first, end = compared.place, compared.place + len(own)
    everything = torch.zeros(compared.sequences, own.shape[1], device=world.device)
    everything[first:end] = own.detach().to(world.device)
    everything = world.sum(everything).to(own.device)
    return torch.cat([everything[:first], own, everything[end:]])
