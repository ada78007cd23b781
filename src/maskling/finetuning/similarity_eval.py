"""Metrics of text vectors: correlation with scores, retrieval of positives, contrastive loss, alignment, uniformity."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskling.data.labelled.encode_texts import EncodedRecords, Windows
from maskling.data.labelled.read_similar import SimilarityForm
from maskling.data.labelled.triplets import PositivePairs, TripletTargets, positive_pairs
from maskling.finetuning.kinds.similarity import Similarity
from maskling.finetuning.recipe import FinetuneRecipe
from maskling.infer.embed import pool
from maskling.infer.forward import batches_by_length, default_batch_tokens, encode
from maskling.metrics.ranking import accuracy_at, mean_reciprocal_rank, pearson, right_ranks, spearman
from maskling.model.device import Compute
from maskling.model.masked_lm import MaskedLM
from maskling.model.tasks.config import Pooling
from maskling.objectives.similarity import alignment, contrastive, uniformity
from maskling.randomness import integer
from maskling.train.distributed import Ranks
from maskling.train.events import Metrics
from maskling.train.task import Criterion

CRITERIA: Final[dict[SimilarityForm, Criterion]] = {
    "scored": Criterion("spearman", higher=True),
    "pairs": Criterion("mrr", higher=True),
    "texts": Criterion("loss"),
}
# Texts that are compared with all candidates at once, so that the matrix of all scores never exists.
_QUERIES_AT_ONCE: Final = 1024
# Vectors whose distances from each other are measured: their number grows with the square.
_UNIFORMITY_VECTORS: Final = 2000


def similarity_metrics(
    module: MaskedLM,
    compute: Compute,
    ranks: Ranks,
    form: SimilarityForm,
    encoded: EncodedRecords[TripletTargets],
    pad: int,
    recipe: FinetuneRecipe,
) -> Metrics:
    """Return the metrics of texts; each rank encodes a part of them. The module's mode is restored.

    scored: Spearman's and Pearson's correlation of cosines and scores. pairs: the rank of each text's positive among
    all positives. texts: the training loss, with dropout masks that are the same every time.
    """
    assert recipe.encoder.pooling is not None
    was_training = module.training
    module.train(form == "texts")
    torch.manual_seed(integer(recipe.seed, "held-out dropout", ranks.rank))
    try:
        vectors = text_vectors(module, compute, ranks, encoded.windows, pad, recipe.encoder.pooling)
    finally:
        module.train(was_training)
    found = positive_pairs(encoded.windows.record, encoded.targets)
    if form == "scored":
        cosines = (vectors[found.anchors] * vectors[found.positives]).sum(1)
        return {"spearman": spearman(found.scores, cosines), "pearson": pearson(found.scores, cosines)}
    if form == "pairs":
        answer_ranks = _positive_ranks(vectors, found)
        return {
            "mrr": mean_reciprocal_rank(answer_ranks),
            "accuracy": accuracy_at(answer_ranks),
            "top10": accuracy_at(answer_ranks, 10),
        }
    assert isinstance(recipe.task, Similarity)
    return _contrastive_metrics(torch.from_numpy(vectors), found, recipe.train.batch_size, recipe.task.temperature)


def text_vectors(
    module: MaskedLM, compute: Compute, ranks: Ranks, windows: Windows, pad: int, pooling: Pooling
) -> NDArray[np.float32]:
    """Return the vectors of w sequences, normalized, on every rank: (w, hidden)."""
    own = np.arange(ranks.rank, len(windows), ranks.size)
    vectors = torch.zeros(len(windows), module.config.hidden_size)
    for together in batches_by_length(windows.length[own], default_batch_tokens(compute)):
        rows = [windows[row].astype(np.int64) for row in own[together]]
        hidden, real = encode(module, compute, rows, pad)
        vectors[torch.from_numpy(own[together])] = pool(hidden, real, pooling).cpu()
    vectors = torch.nn.functional.normalize(vectors, dim=-1)
    reduced: NDArray[np.float32] = ranks.all_reduce(vectors.to(ranks.device)).cpu().numpy()
    return reduced


def _positive_ranks(vectors: NDArray[np.float32], found: PositivePairs) -> NDArray[np.int64]:
    """Return the rank of each text's positive among all candidates but those equal to the text or its positive."""
    answer_ranks = []
    candidates = vectors[found.candidates].T
    for first in range(0, len(found.anchors), _QUERIES_AT_ONCE):
        some = slice(first, first + _QUERIES_AT_ONCE)
        scores = vectors[found.anchors[some]] @ candidates
        scores[found.excluded(some)] = -np.inf
        answer_ranks.append(right_ranks(scores, np.arange(first, first + len(scores))))
    return np.concatenate(answer_ranks)


def _contrastive_metrics(vectors: Tensor, found: PositivePairs, batch_size: int, temperature: float) -> Metrics:
    """Return the loss in batches of the size of a step, alignment and uniformity."""
    one, other = vectors[torch.from_numpy(found.anchors)], vectors[torch.from_numpy(found.positives)]
    total = 0.0
    for first in range(0, len(one), batch_size):
        some = slice(first, first + batch_size)
        excluded = torch.from_numpy(found.excluded(some)[:, some])
        total += float(contrastive(one[some], other[some], excluded, temperature)) * len(one[some])
    return {
        "loss": total / len(one),
        "alignment": float(alignment(one, other)),
        "uniformity": float(uniformity(one[:_UNIFORMITY_VECTORS])),
    }
