"""Losses that teach vectors by their angles, and two measures of how vectors lie.

All of them in fp32: at a temperature of 0.05 the 8 bits of bf16 would tell cosines of 0.9 apart by steps of 0.08 in
the exponent.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def contrastive(anchors: Tensor, candidates: Tensor, excluded: Tensor, temperature: float) -> Tensor:
    """The mean cross-entropy of telling, by cosines, to which of all candidates each anchor belongs.

    InfoNCE (van den Oord et al. 2018, section 2.3), as Henderson et al. 2017 (section 4.4) take it over a batch; in
    Sentence-Transformers MultipleNegativesRankingLoss, where 1 / temperature is called scale.
    anchors: (p, hidden); candidates: (c, hidden), candidate i the right one of anchor i, c >= p; excluded: (p, c) bool,
    candidates that an anchor is not to be told from. Returns () fp32.
    """
    logits = F.normalize(anchors.float(), dim=-1) @ F.normalize(candidates.float(), dim=-1).T / temperature
    right = torch.arange(len(anchors), device=anchors.device)
    return F.cross_entropy(logits.masked_fill(excluded, -torch.inf), right)


def cosent(one: Tensor, other: Tensor, scores: Tensor, temperature: float) -> Tensor:
    """log(1 + sum exp((cosine of j - cosine of i) / temperature)) over all i, j where i has the higher score.

    CoSENT (Su 2022, kexue.fm/archives/8847): it asks for the order of the scores and not, as a regression does, for
    the scores themselves, which no cosine of a trained encoder takes (few are near 0). So it is what Spearman's
    correlation judges. one, other: (p, hidden); scores: (p,). Returns () fp32.
    """
    cosines = F.cosine_similarity(one.float(), other.float(), dim=-1) / temperature
    above = scores[:, None] > scores[None, :]
    differences = (cosines[None, :] - cosines[:, None]).masked_fill(~above, -torch.inf).flatten()
    return torch.cat([differences.new_zeros(1), differences]).logsumexp(0)


def alignment(one: Tensor, other: Tensor) -> Tensor:
    """The mean squared distance of vectors, at length 1, that belong together: (n, hidden) twice to ().

    Wang & Isola 2020, section 4.1, with alpha = 2. Less is better, where uniformity does not rise for it.
    """
    return (F.normalize(one, dim=-1) - F.normalize(other, dim=-1)).square().sum(-1).mean()


def uniformity(vectors: Tensor) -> Tensor:
    """log of the mean of exp(-2 d^2) over the distances d of all pairs of vectors at length 1: (n, hidden) to ().

    Wang & Isola 2020, section 4.1, with t = 2. 0 where all are the same; less is better. NaN for a single vector.
    """
    return torch.pdist(F.normalize(vectors, dim=-1)).square().mul(-2).exp().mean().log()
