"""How well the vectors of texts lie."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskling.data.labelled.encode_texts import Windows
from maskling.data.labelled.read_texts import Form
from maskling.data.labelled.triplets import PositivePairs, Triplets, positive_pairs
from maskling.finetune.kinds.similarity import Similarity
from maskling.finetune.recipe import FinetuneRecipe
from maskling.infer.embed import pool
from maskling.infer.forward import batches_by_length, encode, usual_batch_tokens
from maskling.metrics.ranking import accuracy_at, mean_reciprocal_rank, pearson, right_ranks, spearman
from maskling.model.device import Compute
from maskling.model.masked_lm import MaskedLM
from maskling.model.tasks.config import Pooling
from maskling.objectives.similarity import alignment, contrastive, uniformity
from maskling.randomness import integer
from maskling.train.distributed import Ranks
from maskling.train.task import Criterion, Numbers

CRITERIA: Final[dict[Form, Criterion]] = {
    "scored": Criterion("spearman", higher=True),
    "pairs": Criterion("mrr", higher=True),
    "texts": Criterion("loss"),
}
# Texts that look for their partners together, so that there is never a number for each two of all.
_TOGETHER: Final = 1024
# Vectors whose distances from each other are measured: their number grows with the square.
_SPREAD: Final = 2000


def measured(
    module: MaskedLM, compute: Compute, ranks: Ranks, form: Form, sides: Triplets, pad: int, recipe: FinetuneRecipe
) -> Numbers:
    """What some texts come to; every rank encodes a part of them. The module's mode is put back.

    scored: Spearman's and Pearson's correlation of cosines and scores. pairs: how each text finds its partner among
    all partners. texts: the loss that they would have in training, under a dropout that is always the same.
    """
    assert recipe.encoder.pooling is not None
    was_training = module.training
    module.train(form == "texts")
    torch.manual_seed(integer(recipe.seed, "held-out dropout", ranks.rank))
    try:
        vectors = text_vectors(module, compute, ranks, sides.windows, pad, recipe.encoder.pooling)
    finally:
        module.train(was_training)
    found = positive_pairs(sides.windows.record, sides.targets)
    if form == "scored":
        cosines = (vectors[found.anchors] * vectors[found.partners]).sum(1)
        return {"spearman": spearman(found.scores, cosines), "pearson": pearson(found.scores, cosines)}
    if form == "pairs":
        answer_ranks = _ranks(vectors, found)
        return {
            "mrr": mean_reciprocal_rank(answer_ranks),
            "accuracy": accuracy_at(answer_ranks),
            "top10": accuracy_at(answer_ranks, 10),
        }
    assert isinstance(recipe.task, Similarity)
    return _apart(torch.from_numpy(vectors), found, recipe.train.batch_size, recipe.task.temperature)


def text_vectors(
    module: MaskedLM, compute: Compute, ranks: Ranks, windows: Windows, pad: int, pooling: Pooling
) -> NDArray[np.float32]:
    """The vectors of w sequences at length 1, on every rank: (w, hidden)."""
    mine = np.arange(ranks.rank, len(windows), ranks.size)
    vectors = torch.zeros(len(windows), module.config.hidden_size)
    for together in batches_by_length(windows.length[mine], usual_batch_tokens(compute)):
        rows = [windows[row].astype(np.int64) for row in mine[together]]
        hidden, real = encode(module, compute, rows, pad)
        vectors[torch.from_numpy(mine[together])] = pool(hidden, real, pooling).cpu()
    vectors = torch.nn.functional.normalize(vectors, dim=-1)
    everything: NDArray[np.float32] = ranks.all_reduce(vectors.to(ranks.device)).cpu().numpy()
    return everything


def _ranks(vectors: NDArray[np.float32], found: PositivePairs) -> NDArray[np.int64]:
    """Where each text finds its partner among all candidates, those left out that cannot be told from it."""
    answer_ranks = []
    candidates = vectors[found.candidates].T
    for first in range(0, len(found.anchors), _TOGETHER):
        some = slice(first, first + _TOGETHER)
        scores = vectors[found.anchors[some]] @ candidates
        scores[found.excluded(some)] = -np.inf
        answer_ranks.append(right_ranks(scores, np.arange(first, first + len(scores))))
    return np.concatenate(answer_ranks)


def _apart(vectors: Tensor, found: PositivePairs, batch_size: int, temperature: float) -> Numbers:
    """The loss in batches of the size of a step, and how the vectors lie."""
    one, other = vectors[torch.from_numpy(found.anchors)], vectors[torch.from_numpy(found.partners)]
    total = 0.0
    for first in range(0, len(one), batch_size):
        some = slice(first, first + batch_size)
        excluded = torch.from_numpy(found.excluded(some)[:, some])
        total += float(contrastive(one[some], other[some], excluded, temperature)) * len(one[some])
    return {
        "loss": total / len(one),
        "alignment": float(alignment(one, other)),
        "uniformity": float(uniformity(one[:_SPREAD])),
    }
