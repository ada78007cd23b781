"""The vectors of all texts of a step, however few of them fit into memory at once."""

from __future__ import annotations

import torch
from torch import Tensor

from maskling.finetune.rows import Rows
from maskling.finetune.similarity.work import Compared
from maskling.model.encoder import pooled
from maskling.model.masked_lm import MaskedLM
from maskling.model.recomputing import again
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
            vectors.append(_encoded(rows.input_ids, rows, encode, pooling))
        else:
            vectors.append(again(_encoded, rows.input_ids, rows, encode, pooling))
    if not vectors:
        # A rank without rows has nothing, but the engine wants something to differentiate.
        vectors = [module.word.weight[:0].float()]
    return _of_all_ranks(torch.cat(vectors), compared, world)


def _encoded(input_ids: Tensor, rows: Rows, encode: Encode, pooling: Pooling) -> Tensor:
    # With the masks of the first time a second one would be another calculation, to a compiler.
    visible = rows.visible.without_masks()
    hidden = encode(input_ids, rows.position_ids, rows.token_type_ids, visible)
    with torch.autocast(hidden.device.type, enabled=False):
        return pooled(hidden.float(), rows.first_positions, visible, pooling)


def _of_all_ranks(own: Tensor, compared: Compared, world: World) -> Tensor:
    """Every rank's vectors, of which only its own can be differentiated here: the others do that with theirs."""
    if world.size == 1:
        return own
    first, end = compared.place, compared.place + len(own)
    everything = torch.zeros(compared.sequences, own.shape[1], device=world.device)
    everything[first:end] = own.detach().to(world.device)
    everything = world.sum(everything).to(own.device)
    return torch.cat([everything[:first], own, everything[end:]])
