"""Losses of sentence encoders on cosines (InfoNCE, CoSENT), and two metrics of vectors (alignment, uniformity).

All are computed in fp32: at a temperature of 0.05 the 8 significant bits of bf16 would separate cosines near 0.9 only
by steps of 0.08 in the exponent.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def contrastive(anchors: Tensor, candidates: Tensor, excluded: Tensor, temperature: float) -> Tensor:
    """Return the contrastive loss with in-batch negatives: mean cross-entropy of picking each anchor's positive.

    InfoNCE (van den Oord et al. 2018, section 2.3), over a batch as in Henderson et al. 2017 (section 4.4); in
    Sentence-Transformers MultipleNegativesRankingLoss, where 1 / temperature is called scale. A logit is a cosine over
    `temperature`.
    anchors: (p, hidden). candidates: (c, hidden), candidate i is the positive of anchor i, c >= p. excluded: (p, c)
    bool, candidates that are no negatives of an anchor. Returns () fp32.
    """
    logits = F.normalize(anchors.float(), dim=-1) @ F.normalize(candidates.float(), dim=-1).T / temperature
    positives = torch.arange(len(anchors), device=anchors.device)
    return F.cross_entropy(logits.masked_fill(excluded, -torch.inf), positives)


def cosent(one: Tensor, other: Tensor, scores: Tensor, temperature: float) -> Tensor:
    """Return log(1 + sum exp((cosine of j - cosine of i) / temperature)) over all i, j where i has the higher score.

    CoSENT (Su 2022, kexue.fm/archives/8847). It optimizes the order of the scores, which is what Spearman's correlation
    measures. A regression would fit the scores themselves, which cosines of a trained encoder cannot take (few are near
    0). one, other: (p, hidden), the two sides of each pair. scores: (p,). Returns () fp32.
    """
    cosines = F.cosine_similarity(one.float(), other.float(), dim=-1) / temperature
    above = scores[:, None] > scores[None, :]
    differences = (cosines[None, :] - cosines[:, None]).masked_fill(~above, -torch.inf).flatten()
    return torch.cat([differences.new_zeros(1), differences]).logsumexp(0)


def alignment(one: Tensor, other: Tensor) -> Tensor:
    """Return the mean squared distance between the normalized vectors of positive pairs: (n, hidden) twice to ().

    Wang & Isola 2020, section 4.1, with alpha = 2. Lower is better at equal uniformity.
    """
    return (F.normalize(one, dim=-1) - F.normalize(other, dim=-1)).square().sum(-1).mean()


def uniformity(vectors: Tensor) -> Tensor:
    """Return log of the mean of exp(-2 d^2) over the distances d of all pairs of normalized vectors: (n, hidden) to ().

    Wang & Isola 2020, section 4.1, with t = 2. 0 if all vectors are the same; lower is better. NaN for one vector.
    """
    return torch.pdist(F.normalize(vectors, dim=-1)).square().mul(-2).exp().mean().log()
